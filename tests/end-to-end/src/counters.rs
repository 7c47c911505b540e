//! The counters of a process, read where Prometheus would.

use anyhow::Context;

/// What a process has counted.
pub struct Counters(String);

impl Counters {
    /// Of the process that shows them on this port.
    pub async fn read(port: u16) -> anyhow::Result<Self> {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let answer = reqwest::get(url).await.context("metrics")?.error_for_status()?;
        Ok(Self(answer.text().await?))
    }

    /// The sum of all series of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |series: &str| {
            let mut wanted = labels.iter().map(|(key, value)| format!("{key}=\"{value}\""));
            wanted.all(|label| series.contains(&label))
        };
        let series = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        series
            .filter(|(series, _)| series.split('{').next() == Some(name) && has(series))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum()
    }
}
