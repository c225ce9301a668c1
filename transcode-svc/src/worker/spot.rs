//! Spot notices: a cloud that takes its machine back says so two minutes before.
//!
//! Asks the instance's metadata service (IMDSv2) every five seconds, as AWS recommends; what it says is a reason to
//! go, nothing else. Off unless its address is configured.

use std::time::Duration;
use transcode_core::Cancel;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(5);

/// How long an answer may take: the service is on this very machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask the service at `address` (`http://169.254.169.254`) until `over`; what it announces is told once.
pub(crate) fn watch(address: &str, over: &Cancel, told: impl FnOnce(&str)) {
    let Some((runtime, client)) = tools() else {
        log::warn!("spot notices of {address} cannot be asked for");
        return;
    };
    loop {
        match runtime.block_on(ask(&client, address.trim_end_matches('/'))) {
            Ok(Some(action)) => return told(&action),
            Ok(None) => {}
            Err(error) => log::debug!("spot notices of {address}: {error}"),
        }
        if over.sleep(EVERY) {
            return;
        }
    }
}

fn tools() -> Option<(tokio::runtime::Runtime, reqwest::Client)> {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().ok()?;
    Some((runtime, client))
}

/// `{"action":"terminate","time":"…"}`, or nothing as long as nobody wants the machine.
async fn ask(client: &reqwest::Client, address: &str) -> reqwest::Result<Option<String>> {
    let token = client
        .put(format!("{address}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", "60")
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    let notice = client
        .get(format!("{address}/latest/meta-data/spot/instance-action"))
        .header("x-aws-ec2-metadata-token", token)
        .send()
        .await?;
    if notice.status().as_u16() == 404 {
        return Ok(None);
    }
    notice.error_for_status()?.text().await.map(Some)
}
