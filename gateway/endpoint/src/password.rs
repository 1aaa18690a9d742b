//! Passwords of simple devices: argon2id, a few at a time and never on a thread that serves sessions.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// How long a password may be, in bytes. Shorter ones are guessed; a longer text is no password.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// 7 MiB, five passes, one lane: as strong as the 19 MiB of the usual advice, and bearable on a board of 512 MB.
const COST: (u32, u32, u32) = (7 * 1024, 5, 1);

/// The hash of a new password, as a PHC string.
pub(crate) async fn hash(password: SecretString, few: Arc<Semaphore>) -> Result<String, String> {
    let _place = few.acquire().await.map_err(|error| error.to_string())?;
    let hashed = tokio::task::spawn_blocking(move || {
        let mut salt = [0; 16];
        random(&mut salt)?;
        let hash: PasswordHash = argon2()?
            .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
            .map_err(|error| format!("cannot hash the password: {error}"))?;
        Ok(hash.to_string())
    });
    hashed.await.map_err(|error| error.to_string())?
}

/// Whether the password is the one that was hashed. A hash that is none fits nothing.
pub(crate) async fn fits(password: SecretString, hash: String, few: Arc<Semaphore>) -> bool {
    let Ok(_place) = few.acquire().await else { return false };
    let verified = tokio::task::spawn_blocking(move || {
        let (Ok(argon2), Ok(hash)) = (argon2(), PasswordHash::new(&hash)) else { return false };
        argon2.verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
    });
    verified.await.unwrap_or(false)
}

fn argon2() -> Result<Argon2<'static>, String> {
    let params = Params::new(COST.0, COST.1, COST.2, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Random bytes fit for keys.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), String> {
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(bytes).map_err(|_| "the system gives no random numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_no_other() {
        let few = Arc::new(Semaphore::new(2));
        let one = hash("correct horse".to_owned().into(), few.clone()).await.expect("hashed");
        let two = hash("correct horse".to_owned().into(), few.clone()).await.expect("hashed");
        assert!(one.starts_with("$argon2id$") && one != two, "salted");
        assert!(fits("correct horse".to_owned().into(), one.clone(), few.clone()).await);
        assert!(!fits("correct hors".to_owned().into(), one, few.clone()).await);
        assert!(!fits("".to_owned().into(), "no hash".to_owned(), few).await);
    }
}
