//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over id, time and body.

use crate::config::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::fmt;
use transcode_core::Error;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Bytes of a key: Standard Webhooks allows 24 to 64.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with one or several keys, or with none.
#[derive(Clone)]
pub struct Signer(Vec<hmac::Key>);

impl Signer {
    /// Keys from `whsec_…` texts; the prefix may be left out.
    ///
    /// # Errors
    /// [`Error::Config`] for a text that is no such secret; it is not repeated.
    pub fn new(secrets: &[Secret]) -> Result<Self, Error> {
        let key = |secret: &Secret| {
            let text = secret.expose().trim();
            let bytes = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok();
            let bytes = bytes.filter(|bytes| BYTES.contains(&bytes.len()));
            let bytes = bytes.ok_or_else(|| Error::Config {
                what: "webhook.secret".to_owned(),
                reason: format!(
                    "this is no secret for webhooks; allowed is {PREFIX} and {} to {} random bytes in Base64, as \
                     `echo {PREFIX}$(openssl rand -base64 32)` makes",
                    BYTES.start(),
                    BYTES.end()
                ),
            })?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        Ok(Self(secrets.iter().map(key).collect::<Result<_, Error>>()?))
    }

    /// The value of `webhook-signature`: `v1,` and Base64 for each key, with blanks between; `None` without keys.
    pub fn sign(&self, id: &str, seconds: u64, body: &str) -> Option<String> {
        let signed = format!("{id}.{seconds}.{body}");
        let signature = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes())));
        let signatures: Vec<String> = self.0.iter().map(signature).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[&str]) -> Result<Signer, Error> {
        Signer::new(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>())
    }

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf %s 'msg_1.1614265330.{"test": 1}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary | base64
        let signer = signer(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).expect("a good secret");
        let signature = signer.sign("msg_1", 1_614_265_330, r#"{"test": 1}"#);
        assert_eq!(signature.as_deref(), Some("v1,pAJ+2CQ3+N6E7H+Tf1Lee1V3d/TMhYQ2KqhOSemiwqA="));
    }

    #[test]
    fn each_key_gives_a_signature_and_no_key_none() {
        let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
        let one = |key| signer(&[key]).expect("good").sign("a", 1, "{}").expect("a signature");
        let both = signer(&keys).expect("good").sign("a", 1, "{}").expect("signatures");
        assert_eq!(both, format!("{} {}", one(keys[0]), one(keys[1])));
        assert_eq!(signer(&[]).expect("good").sign("a", 1, "{}"), None);
    }

    #[test]
    fn a_secret_that_is_none_is_told_and_not_repeated() {
        for secret in ["", "whsec_", "hunter2", "whsec_hunter2hunter2", "whsec_AAAA", &"A".repeat(100)] {
            let error = signer(&[secret]).expect_err(secret);
            assert!(error.chain().contains("webhook.secret"), "{}", error.chain());
            assert!(secret.is_empty() || !error.chain().contains("hunter2"), "{}", error.chain());
        }
        assert!(!format!("{:?}", signer(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])).contains("MfKQ"));
    }
}
