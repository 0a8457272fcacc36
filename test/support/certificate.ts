/**
 * A certificate of `hooks.example.com` that nobody trusts but who is told to, with its key. For tests alone: made by
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=hooks.example.com
 * -addext subjectAltName=DNS:hooks.example.com`.
 */
export const cert = `-----BEGIN CERTIFICATE-----
MIIBrTCCAVOgAwIBAgIUYKp1cfRNXjjO2+l64+iYpdAb+ywwCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRaG9va3MuZXhhbXBsZS5jb20wIBcNMjYxMTI2MTAwNDE0WhgP
MjEyNjExMDIxMDA0MTRaMBwxGjAYBgNVBAMMEWhvb2tzLmV4YW1wbGUuY29tMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/s/4eIQseUcnrvMtram8u0KmzsV1IvHU
Ef3N5XaUKrc9/RqpOIm4xbgQYEoEPrRAJLg6VmdDx4Y2L2lIocjo16NxMG8wHQYD
VR0OBBYEFOkqHQZFi8n1hggPjBI3sVRdwEJIMB8GA1UdIwQYMBaAFOkqHQZFi8n1
hggPjBI3sVRdwEJIMA8GA1UdEwEB/wQFMAMBAf8wHAYDVR0RBBUwE4IRaG9va3Mu
ZXhhbXBsZS5jb20wCgYIKoZIzj0EAwIDSAAwRQIgEnhWMqO8wNoPPSQUAIxp937a
eg86UxK00BVgyV1hrv0CIQCTp2FyvkjbkE8rvcTMdK0fNeP0Q6MMWoS4F5rYE1Ff
Fg==
-----END CERTIFICATE-----
`

export const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGfZyUvm4jQunjd0X
dQkIMvFFvXkyOrI40dR5+Sk+uQqhRANCAAT+z/h4hCx5Ryeu8y2tqby7QqbOxXUi
8dQR/c3ldpQqtz39Gqk4ibjFuBBgSgQ+tEAkuDpWZ0PHhjYvaUihyOjX
-----END PRIVATE KEY-----
`
