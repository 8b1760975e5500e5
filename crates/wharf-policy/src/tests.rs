use crate::{Action, Engine, Principal, Pull};

#[test]
fn an_open_registry_lets_anonymous_pull_and_the_proof_says_what() {
    let name: wharf_oci::RepositoryName = "team/app".parse().expect("a valid name");
    let ok = Engine::open().authorize::<Pull>(&Principal::anonymous(), name.clone()).expect("open allows everything");
    assert_eq!(ok.action(), Action::Pull);
    assert_eq!(ok.repository(), &name);
    assert_eq!(ok.principal(), &Principal::anonymous());
}

#[test]
fn actions_have_the_names_that_rules_use() {
    let all = [Action::VersionCheck, Action::Pull, Action::Push, Action::Delete, Action::Catalog];
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["registry:version_check", "registry:pull", "registry:push", "registry:delete", "registry:catalog"]
    );
}
