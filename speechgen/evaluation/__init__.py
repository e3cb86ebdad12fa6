"""Measures speech: how well it is understood, whose voice it is, how it sounds, how fast it came. Never trains, never selects.

intelligibility  word error rate of a recogniser that knows only the sentences that were read
speaker          cosine of speaker embeddings
spectral         PESQ, STOI and log-mel distance against a reference of the same utterance
cepstral         mel-cepstral distortion over dynamic time warping; envelope: the spectral envelope it is taken from
intonation       fundamental frequency and voicing against a reference
frechet          Fréchet and kernel distances between sets of feature vectors, with the floor of real speech
naturalness      predicted opinion scores
tokens           what discrete tokens know: phones (wanted) and speakers (unwanted)
speed            real-time factor, percentiles, peak memory
encoders         windows of speech to the feature vectors of those distances
report           a pipeline over sentences and voices
editing          recordings that were made to say other words, beside what they were
vocoders         vocoders over the same recordings, each copy against its original, in one table
optional         imports of the `eval` extra, with the message that says how to get it
signals          one signal out of a carrier, at the rate that a metric is defined for

Signals are `Waveform` carriers of one row and any rate; each metric resamples to the rate it is defined for.
"""
