//! What somebody on the way sees of a client's handshake with the ingest port.

use super::stage::*;
use crate::client::{Client, ClientConfig};
use crate::limits::Limits;
use crate::wiretap::{Seen, Wiretap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intercepted_handshake_of_a_client_shows_the_hybrid_group_and_no_other() {
    let stage = Stage::echoing(Limits::default());
    let tap = Wiretap::before(stage.server.address());
    let client = Client::new(ClientConfig {
        server: tap.address(),
        ..stage.config()
    });
    let connection = client.unwrap().connect_with_retry(PATIENCE).await.unwrap();
    assert_eq!(tap.seen(), Seen::hybrid_alone());
    drop(connection);
}
