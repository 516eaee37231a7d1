use super::{test_server::Databases, *};
use crate::store::contract;

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let Some(databases) = Databases::for_test("passes_the_contract") else { return };
    contract::run(|| async { databases.open(&databases.fresh()).await }).await;
    databases.drop_all().await;
}
