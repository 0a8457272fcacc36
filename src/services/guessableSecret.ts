/**
 * Secrets that are tried first: what examples and defaults have (GOWA's webhook secret is `secret` unless it is set), and what
 * is no more than a row of digits or the same few characters. It finds what was left as it came, not what is merely weak.
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

/** Of sixteen random hexadecimal digits, fewer than five are different ones less than once in a million times. */
const differentMin = 5

const digits = "01234567890123456789".repeat(8)

export const isGuessable = (secret: string): boolean =>
  examples.has(secret.toLowerCase().replace(/[^a-z]/g, "")) || new Set(secret).size < differentMin ||
  digits.includes(secret)
