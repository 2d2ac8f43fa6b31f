"""Whisper's fixed sizes, each derived from the one before it (whisper/audio.py), and one of this project."""

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples in one STFT frame, 25 ms
HOP_LENGTH = 160  # samples between two mel frames, 10 ms
STFT_CONTEXT = N_FFT // 2  # samples a centred STFT frame reads on each side of its position

WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE  # 480_000
WINDOW_FRAMES = WINDOW_SAMPLES // HOP_LENGTH  # 3_000 mel frames
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 100

FRAMES_PER_POSITION = 2  # mel frames per audio-feature position, also per timestamp tick
SAMPLES_PER_POSITION = HOP_LENGTH * FRAMES_PER_POSITION  # 320 samples, 20 ms
POSITIONS_PER_SECOND = SAMPLE_RATE // SAMPLES_PER_POSITION  # 50
SECONDS_PER_POSITION = SAMPLES_PER_POSITION / SAMPLE_RATE  # 0.02

MAX_GROUP = 10  # beams, or samples, of one window
