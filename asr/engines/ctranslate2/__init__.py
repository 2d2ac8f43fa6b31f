"""The engine on CTranslate2, and its file format."""
