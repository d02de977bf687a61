//! A rolling verification: each night a share of the services is recomputed and held against what is stored, so that each of them
//! is within some weeks, and no night holds up what arrives for long.

use serde::Serialize;
use uuid::Uuid;

use super::verify::{Scope, note, verify_leased};
use super::{Installation, Run};
use crate::store::Lease;

/// A night verifies as many services at least. Where there are no more, it verifies everything.
const SERVICES_A_NIGHT: usize = 100;
/// Every service's turn comes within so many nights.
const NIGHTS: usize = 30;

/// What a night's verification found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sampled {
    pub services: u64,
    pub rows: u64,
    /// In what is stored, beside what recomputing gives. `usage-rollup verify` names them.
    pub differences: u64,
    /// UTC days that could not be recomputed.
    pub unreadable: u64,
}

/// Verifies the share of services whose turn it is in a night, which is told by its number.
///
/// # Errors
/// When the lease can't be had, the run's own period is done already, the store fails, or the run was interrupted. Differences
/// are no error: they are what is looked for.
pub async fn verify_sample(installation: &Installation, run: &Run, night: usize) -> anyhow::Result<Sampled> {
    let lease = installation.begin(run, "verify").await?;
    let done = Box::pin(verify_share(installation, run, &lease, night)).await;
    installation.end(&lease, done).await
}

async fn verify_share(installation: &Installation, run: &Run, lease: &Lease, night: usize) -> anyhow::Result<Sampled> {
    let services =
        installation.store.known_services().await?.into_iter().map(|(service, _)| service).collect::<Vec<Uuid>>();
    let nights = nights(services.len());
    let share = match nights {
        1 => Vec::new(),
        _ => services.into_iter().skip(night % nights).step_by(nights).collect(),
    };
    let scope = Scope { services: share, ..Scope::default() };
    let verified = verify_leased(installation, run, lease, &scope).await?;
    note(installation, &scope, &verified).await;
    Ok(Sampled {
        services: verified.checked.services,
        rows: verified.checked.rows,
        differences: verified.differences.count(),
        unreadable: verified.unreadable.len() as u64,
    })
}

/// Over how many nights so many services are spread.
fn nights(services: usize) -> usize {
    (services / SERVICES_A_NIGHT).clamp(1, NIGHTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_services_are_verified_every_night_and_many_within_a_month() {
        assert_eq!([0, 1, 199, 200, 1_000, 100_000].map(nights), [1, 1, 1, 2, 10, 30]);
    }
}
