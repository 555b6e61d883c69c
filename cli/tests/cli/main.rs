//! The command as a process: exit statuses, messages and files. One binary, since linking it is most of its cost.

mod common;
mod compile;
mod components;
mod fuel;
mod init;
mod profile;
mod reports;
mod run;
