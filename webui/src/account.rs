//! Names and passwords: what may be one, and how a password is kept and compared.
//!
//! argon2id takes 19 MiB and a good part of a second of a small board's core. So hashing runs beside the async workers, one at a
//! time, and only a few may wait for their turn: whoever comes later is told to wait, so that a flood of log-ins cannot take the
//! memory or the core from the messages.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash as Phc},
};
use tidegate_core::{account::is_account_name, device::PasswordHash};
use tokio::sync::Semaphore;

use crate::Problem;

/// Shortest password: with the throttle, ten characters outlast the box.
const SHORTEST: usize = 10;
/// Longest, in characters.
const LONGEST: usize = 128;
/// Requests that may wait for a hash to be computed. With one at a time the last of them waits some seconds on a Pi.
const WAITING: usize = 8;

/// Hashes passwords, one at a time.
#[derive(Debug)]
pub(crate) struct Hasher {
    turn: std::sync::Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { turn: std::sync::Arc::new(Semaphore::new(1)), waiting: Semaphore::new(WAITING) }
    }
}

impl Hasher {
    /// What is kept of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, Problem> {
        self.run(move || hash_password(&password)).await?.map_err(|why| Problem::internal("hashing a password", why))
    }

    /// Whether this is the password. `None` stands for a user who does not exist: it takes as long, and is never right.
    pub(crate) async fn is(&self, password: String, hash: Option<PasswordHash>) -> Result<bool, Problem> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| PasswordHash(NOBODY.to_owned()));
        let same = self
            .run(move || match Phc::new(&hash.0) {
                Ok(hash) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
                Err(_) => false,
            })
            .await?;
        Ok(same && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Problem::slow_down(3))?;
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| Problem::stopping())?;
        // The turn goes along: a request that is given up does not let the next one in beside it.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|why| Problem::internal("hashing a password", why))
    }
}

/// A hash of a password that nobody has, with the parameters that ours have.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGlkZWdhdGUtbm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is kept of a password: argon2id with fresh salt. Takes 19 MiB and a while.
pub fn hash_password(password: &str) -> Result<PasswordHash, String> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(PasswordHash(hash.to_string()))
}

/// Names the rule that a user's or token's name breaks.
pub(crate) fn check_name(problem: Option<Problem>, path: &str, name: &str) -> Option<Problem> {
    if is_account_name(name) {
        return problem;
    }
    let next = "use 1 to 64 letters, digits, '.', '_' or '-'";
    Some(problem.unwrap_or_else(|| Problem::invalid("")).field(path, "is not a name", next))
}

/// Names the rule that a new password breaks.
pub(crate) fn check_password(problem: Option<Problem>, path: &str, password: &str, name: &str) -> Option<Problem> {
    let length = password.chars().count();
    let (what, next) = if length < SHORTEST {
        (format!("has {length} characters"), "use at least 10; four random words are easy to type")
    } else if length > LONGEST {
        (format!("has {length} characters"), "use at most 128")
    } else if !name.is_empty() && password.to_lowercase().contains(&name.to_lowercase()) && length < SHORTEST + name.len() {
        ("contains the user's name".to_owned(), "use something that does not follow from the name")
    } else if password.chars().all(|c| password.starts_with(c)) {
        ("is one character over and over".to_owned(), "use four random words")
    } else {
        return problem;
    };
    Some(problem.unwrap_or_else(|| Problem::invalid("")).field(path, what, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_a_stranger_never() {
        let hasher = Hasher::default();
        let hash = hasher.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(Phc::new(NOBODY).is_ok(), "a stranger costs as much as a user");
        assert!(hasher.is("correct horse".into(), Some(hash.clone())).await.expect("asked"));
        assert!(!hasher.is("correct horsf".into(), Some(hash)).await.expect("asked"));
        assert!(!hasher.is("correct horse".into(), None).await.expect("asked"));
        assert!(!hasher.is("x".into(), Some(PasswordHash("nonsense".into()))).await.expect("asked"));
    }

    #[tokio::test]
    async fn a_flood_of_log_ins_is_told_to_wait() {
        let hasher = std::sync::Arc::new(Hasher::default());
        let tries: Vec<_> = (0..40)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.is("x".into(), None).await.map_err(|problem| problem.code()) })
            })
            .collect();
        let mut refused = 0;
        for one in tries {
            refused += usize::from(one.await.expect("no panic") == Err("slow-down"));
        }
        assert!(refused >= 30, "{refused}");
    }

    #[test]
    fn weak_passwords_are_named() {
        for bad in ["", "short", "aaaaaaaaaaaaaa", "ada2031!!!", &"x1".repeat(80)] {
            assert!(check_password(None, "password", bad, "ada").is_some(), "{bad}");
        }
        for good in ["correct horse", "ада и её кошка", "0123456789"] {
            assert!(check_password(None, "password", good, "ada").is_none(), "{good}");
        }
    }
}
