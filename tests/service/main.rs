//! The service as its users run it: real workers, real queues, real kills.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../support/elasticmq.rs"]
mod elasticmq;
#[allow(unreachable_pub)]
mod fleet;
mod going;
mod kills;
mod producers;
#[allow(dead_code)]
#[path = "../support/redis.rs"]
mod redis_server;
mod sandbox;
mod seeds;
mod serve;
#[allow(dead_code, unreachable_pub)]
#[path = "../support/servers.rs"]
mod servers;
#[allow(dead_code)]
#[path = "../cli/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../support/web.rs"]
mod web;
