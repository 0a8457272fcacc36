/**
 * Secrets that an attacker tries first: those of examples and defaults (GOWA's webhook secret is `secret` unless it is
 * set), and mere rows of digits or the same few characters. It finds unchanged defaults, not weak secrets in general.
 */

const examples: ReadonlySet<string> = new Set([
  "admin",
  "apikey",
  "change",
  "changeit",
  "changeme",
  "columba",
  "default",
  "demo",
  "example",
  "guest",
  "key",
  "letmein",
  "mysecret",
  "password",
  "qwerty",
  "replaceme",
  "root",
  "secret",
  "secretkey",
  "test",
  "token",
  "topsecret",
  "webhooksecret",
  "yourapikey",
  "yoursecret",
  "yoursecretkey"
])

/** Among sixteen random hexadecimal digits, fewer than five different ones occur less than once in a million times. */
const differentMin = 5

const digits = "01234567890123456789".repeat(8)

export const isGuessable = (secret: string): boolean =>
  examples.has(secret.toLowerCase().replace(/[^a-z]/g, "")) || new Set(secret).size < differentMin ||
  digits.includes(secret)
