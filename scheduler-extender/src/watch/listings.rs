//! Asks the watch of pods for a fresh listing, and waits for it.

use tokio::sync::watch;

/// The asking side. Clones share it.
#[derive(Clone, Debug)]
pub struct Listings {
    wanted: watch::Sender<u64>,
    done: watch::Receiver<u64>,
}

/// The side of the watch.
#[derive(Debug)]
pub struct ListingRequests {
    wanted: watch::Receiver<u64>,
    done: watch::Sender<u64>,
}

/// Both sides.
pub fn listings() -> (Listings, ListingRequests) {
    let (wanted, requests) = watch::channel(0);
    let (finished, done) = watch::channel(0);
    (
        Listings { wanted, done },
        ListingRequests {
            wanted: requests,
            done: finished,
        },
    )
}

impl Listings {
    /// Waits for a listing that began after this call. Returns too when the watch has ended: then nothing comes any more, and the
    /// process is about to stop.
    pub async fn renew(&self) {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let mut done = self.done.clone();
        let _ended = done.wait_for(|done| *done >= number).await;
    }
}

impl ListingRequests {
    /// A listing begins now; the number is for [`Self::finished`].
    pub(super) fn begin(&mut self) -> u64 {
        *self.wanted.borrow_and_update()
    }

    /// The listing is complete.
    pub(super) fn finished(&self, number: u64) {
        self.done.send_replace(number);
    }

    /// Waits until another listing is wanted; for ever when nobody can ask any more.
    pub(super) async fn wanted(&mut self) {
        if self.wanted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_a_listing_that_began_afterwards_counts() {
        let (listings, mut requests) = listings();
        let early = requests.begin();
        let mut waiting = std::pin::pin!(listings.renew());
        assert!(waiting.as_mut().now_or_never().is_none());
        requests.finished(early);
        assert!(
            waiting.as_mut().now_or_never().is_none(),
            "that one had begun before"
        );
        requests.wanted().await;
        let number = requests.begin();
        requests.finished(number);
        waiting.await;
    }
}
