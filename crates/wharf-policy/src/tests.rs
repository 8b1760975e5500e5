mod engine;
mod evaluate;
mod pattern;
mod rule;
mod support;
