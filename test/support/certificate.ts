/**
 * A self-signed certificate of `hooks.example.com`, which nobody trusts by default, with its key. For tests only: made by
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

/** The same for `localhost` and 127.0.0.1. */
export const localhost = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUMgNWWGAWjzWBHF/NV1QWzmPFKigwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjEyMDkyNVoYDzIxMjYxMTAy
MTIwOTI1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQGO8yjYKNcW3qDK5Hs5fun7oHxOsJP3woqSiq38s3/uqVo6UTin0lM
lsogQSESxCsJfcC54QCes1Q8c3MMbS+go28wbTAdBgNVHQ4EFgQUVsDQK2WcE4AS
Sxw8yJVnWd6IUUowHwYDVR0jBBgwFoAUVsDQK2WcE4ASSxw8yJVnWd6IUUowDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAN1xQcpu4IgVTbiyBWHv3H+NESCSr65n3nmqMp9ebgLpAiAL
X/U6MwbSxdSycBLfBwAUq3lMcOqanXhmxBjVjl4l8w==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgF+KQODdqo/XQ/jN4
YL2dfvB/INhyqu1ohTKxpy7iYqqhRANCAAQGO8yjYKNcW3qDK5Hs5fun7oHxOsJP
3woqSiq38s3/uqVo6UTin0lMlsogQSESxCsJfcC54QCes1Q8c3MMbS+g
-----END PRIVATE KEY-----
`
}
