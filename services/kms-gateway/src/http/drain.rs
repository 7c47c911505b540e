//! A body that is refused unread is still read to its end: else the connection would be reset while
//! the caller writes, and the caller would see that instead of the answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// Bytes that are read and thrown away for the sake of an answer.
const MAX_DRAINED: usize = 8 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A body whose rest is thrown away when it is dropped; none at its end.
struct Drained(Option<BodyDataStream>);

/// The same body, which is read to its end whoever lets go of it.
pub(super) fn drained(body: Body) -> Body {
    match body.is_end_stream() {
        true => body,
        false => Body::from_stream(Drained(Some(body.into_data_stream()))),
    }
}

impl Stream for Drained {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let item = ready!(body.poll_next_unpin(context));
        if !matches!(item, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(item)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut rest) = self.0.take() else { return };
        // Without a runtime the connection is gone as well.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let drain = async move {
            let mut drained = 0;
            while let Some(Ok(data)) = rest.next().await {
                drained += data.len();
                if drained > MAX_DRAINED {
                    return;
                }
            }
        };
        runtime.spawn(async { tokio::time::timeout(DRAIN_TIMEOUT, drain).await });
    }
}
