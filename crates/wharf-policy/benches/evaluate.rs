//! What a question costs with many rules.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wharf_policy::{AccountType, Action, Principal, Provider, Question, RuleSet, StoredRule, evaluate};

/// Rules as a registry of many teams has them: each lets one robot push to one team's repositories, every tenth denies
/// something by a pattern that begins with a star.
fn rules(count: usize) -> RuleSet {
    let stored = (0..count).map(|number| StoredRule {
        id: format!("r{number}"),
        priority: 100,
        rule_json: if number % 10 == 0 {
            format!(r#"{{"effect":"deny","actions":["registry:push"],"repositories":["*/frozen-{number}"]}}"#)
        } else {
            format!(
                r#"{{"effect":"allow","subjects":["ci-{number}"],"actions":["registry:pull","registry:push"],"repositories":["team-{number}/**"]}}"#
            )
        },
        description: String::new(),
    });
    RuleSet::merged(&stored.collect::<Vec<_>>())
}

fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    for count in [10, 100, 1_000, 10_000] {
        let rules = rules(count);
        let principal = Principal::new(Provider::Local, &format!("ci-{}", count - 1), AccountType::System, Vec::new());
        let repository = format!("team-{}/app", count - 1).parse().expect("a name");
        for (name, action) in [("push", Action::Push), ("pull", Action::Pull)] {
            let question = Question { principal: &principal, action, repository: Some(&repository) };
            assert!(evaluate(&question, &rules).allowed);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| evaluate(black_box(&question), &rules));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, questions);
criterion_main!(benches);
