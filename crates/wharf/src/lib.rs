//! The binary `wharf` as a library: configuration, wiring and commands. The only room that reads arguments, the
//! environment and configuration files.

mod admin_password;
pub mod allocator;
pub mod app;
mod backup;
pub mod cli;
mod client;
pub mod commands;
pub mod config;
mod credentials;
pub mod error;
pub mod logging;
mod migrate;
mod program_pages;
mod progress;
mod table;
mod text;
