//! The service as its users run it: real workers, real queues, real kills.
#![allow(clippy::unwrap_used)]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/elasticmq.rs"]
mod elasticmq;
#[allow(unreachable_pub)]
mod fleet;
#[allow(unreachable_pub)]
mod going;
mod kills;
mod outages;
mod producers;
#[path = "../support/redis.rs"]
mod redis_server;
mod sandbox;
mod seeds;
mod serve;
#[path = "../support/servers.rs"]
mod servers;
#[allow(dead_code)]
#[path = "../cli/support.rs"]
mod support;
#[path = "../support/web.rs"]
mod web;
