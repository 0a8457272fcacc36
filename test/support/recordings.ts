/** A short audio recording that browsers play. */

const rate = 8000

/** One second of a tone, as WAV. */
const drawSound = (): Buffer => {
  const samples = Buffer.from(
    Array.from({ length: rate }, (_, index) => 128 + Math.round(100 * Math.sin(index * 2 * Math.PI * 440 / rate)))
  )
  const head = Buffer.alloc(44)
  head.write("RIFF", 0)
  head.writeUInt32LE(36 + samples.length, 4)
  head.write("WAVEfmt ", 8)
  head.writeUInt32LE(16, 16)
  // Uncompressed samples: one channel, one byte each.
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(rate, 24)
  head.writeUInt32LE(rate, 28)
  head.writeUInt16LE(1, 32)
  head.writeUInt16LE(8, 34)
  head.write("data", 36)
  head.writeUInt32LE(samples.length, 40)
  return Buffer.concat([head, samples])
}

export const sound = drawSound()
