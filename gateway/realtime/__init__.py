"""OpenAI's Realtime transcription over a WebSocket: events in, events out, one stream per connection."""
