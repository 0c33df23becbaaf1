//! Answers a stream of messages in order while several of them are being worked on.
//!
//! At most `in_flight` messages of one stream are taken from the wire and not yet answered. A
//! message is taken only when the answer before it has been taken by the client, so a client that
//! stops reading stalls its own stream and holds at most that many messages in memory. The work of
//! a message runs in a task of its own: what such a client has begun still ends, and lets go of
//! whatever it holds.

use std::future::Future;

use futures_util::{Stream, StreamExt};
use tonic::Status;
use tracing::Instrument;

/// Applies `work` to every message; the answers come in the order of the messages. The stream ends
/// with the first message that could not be received, or whose work failed as a whole.
pub fn in_order<M, A, F>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
    in_flight: usize,
    work: impl Fn(M) -> F + Send + 'static,
) -> impl Stream<Item = Result<A, Status>> + Send + 'static
where
    M: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let mut failed = false;
    messages
        .map(move |message| {
            let task = message.map(|message| tokio::spawn(work(message).in_current_span()));
            async move {
                match task?.await {
                    Ok(answer) => answer,
                    // A panic in the work: its own message stands in the log of the server.
                    Err(_) => Err(Status::internal("INTERNAL")),
                }
            }
        })
        .buffered(in_flight)
        // The first error is the last answer.
        .take_while(move |answer| {
            let go_on = !failed;
            failed = answer.is_err();
            async move { go_on }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn answers_keep_the_order_of_messages_that_end_in_another() {
        let mut gates = Vec::new();
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, receiver) = oneshot::channel::<()>();
            senders.push(sender);
            receivers.push(receiver);
        }
        gates.extend(receivers.into_iter().enumerate().map(Ok));
        let answers = in_order(
            futures_util::stream::iter(gates),
            3,
            |(i, gate): (usize, oneshot::Receiver<()>)| async move {
                gate.await.map(|()| i).map_err(|_| Status::cancelled("gone"))
            },
        );
        for sender in senders.into_iter().rev() {
            sender.send(()).unwrap();
        }
        let order: Vec<usize> = answers.map(Result::unwrap).collect().await;
        assert_eq!(order, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_read_from() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let endless = futures_util::stream::repeat_with(move || Ok(counted.fetch_add(1, Ordering::SeqCst)));
        let mut answers = Box::pin(in_order(endless, 4, |n| async move { Ok(n) }));
        assert_eq!(taken.load(Ordering::SeqCst), 0, "nothing is taken before somebody reads");
        for expected in 0..10 {
            assert_eq!(answers.next().await.unwrap().unwrap(), expected);
            assert!(taken.load(Ordering::SeqCst) <= expected + 1 + 4);
        }
    }

    #[tokio::test]
    async fn an_error_is_the_last_answer() {
        let messages = futures_util::stream::iter([Ok(1), Err(Status::data_loss("cut")), Ok(3)]);
        let answers: Vec<_> = in_order(messages, 2, |n| async move { Ok(n) }).collect().await;
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[1].as_ref().unwrap_err().code(), tonic::Code::DataLoss);
    }

    #[tokio::test]
    async fn a_panic_fails_its_stream_and_nothing_else() {
        let messages = futures_util::stream::iter([Ok(1)]);
        let answers: Vec<Result<(), Status>> =
            in_order(messages, 2, |_| async move { panic!("on purpose") }).collect().await;
        assert_eq!(answers[0].as_ref().unwrap_err().code(), tonic::Code::Internal);
    }
}
