//! Rules and patterns: nothing panics, a rule prints as what reads the same, and a row that is no rule changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_policy::{Pattern, Rule, RuleSet, StoredRule};

fuzz_target!(|input: (&str, &str, &str)| {
    let (json, pattern, name) = input;
    if let Ok(pattern) = pattern.parse::<Pattern>() {
        pattern.matches(name);
        assert_eq!(pattern.as_str().parse::<Pattern>(), Ok(pattern));
    }
    let row = StoredRule { id: "id".to_owned(), priority: 1, rule_json: json.to_owned(), description: String::new() };
    let set = RuleSet::merged(std::slice::from_ref(&row));
    match Rule::try_from(&row) {
        Ok(rule) => assert_eq!(Rule::parse("id", 1, "", &rule.to_json()), Ok(rule)),
        Err(_) => assert_eq!(set.rules(), RuleSet::defaults().rules()),
    }
});
