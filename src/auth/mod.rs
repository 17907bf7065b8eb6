//! Who is asking: verifies connection and subscription tokens and HMAC credentials.
