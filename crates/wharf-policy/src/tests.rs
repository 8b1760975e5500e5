use std::sync::Arc;

use crate::{Action, Asker, Engine, Principal, Pull};

#[test]
fn an_open_registry_lets_anonymous_pull_and_the_proof_says_what() {
    let name: wharf_oci::RepositoryName = "team/app".parse().expect("a valid name");
    let asker = Asker::new(Principal::anonymous(), None, Arc::from("r-1"));
    let ok = Engine::open().authorize::<Pull>(&asker, name.clone()).expect("open allows everything");
    assert_eq!(ok.action(), Action::Pull);
    assert_eq!(ok.repository(), &name);
    assert_eq!(ok.principal(), &Principal::anonymous());
}
