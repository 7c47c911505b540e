//! Processor time and memory of processes, as the kernel counts them.

use std::fs;

use anyhow::Context;
use end_to_end::Cluster;

/// Ticks of the kernel in a second; fixed for user space on Linux.
const TICKS: f64 = 100.0;

/// A process, or a server and all that it has started.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name.
    pub name: String,
    id: u32,
    is_family: bool,
}

/// Every process of the cluster, the broker and the database.
pub fn watched(cluster: &Cluster) -> Vec<Watched> {
    let own = cluster.processes.iter().filter_map(|process| {
        Some(Watched { name: process.name().to_owned(), id: process.id()?, is_family: false })
    });
    let mut all: Vec<_> = own.collect();
    let mut server = |name: &str, id: Option<u32>| {
        let found = id.map(|id| Watched { name: name.to_owned(), id, is_family: true });
        all.extend(found);
    };
    server("RabbitMQ", broker());
    server("PostgreSQL", postgres());
    all
}

/// Started by `scripts/servers`, which says where its file is.
fn broker() -> Option<u32> {
    let environment = std::env::var("KEYHELM_TEST_RABBITMQ_ENVIRONMENT").ok()?;
    let file = std::path::Path::new(&environment).with_file_name("pid");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn postgres() -> Option<u32> {
    let folder = std::env::var("KEYHELM_TEST_POSTGRES_FOLDER").ok()?;
    let text = fs::read_to_string(format!("{folder}/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

impl Watched {
    /// Seconds of processor time so far, of children too where it is a family.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        let own = ticks(self.id, self.is_family)?;
        let mut all = own;
        if self.is_family {
            // One that ends meanwhile is counted with its parent from then on.
            all +=
                children(self.id).into_iter().filter_map(|id| ticks(id, false).ok()).sum::<f64>();
        }
        Ok(all / TICKS)
    }

    /// KiB that are resident now. A family's shared pages are divided among those that share them.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        match self.is_family {
            false => field(self.id, "status", "VmRSS:"),
            true => Ok(std::iter::once(self.id)
                .chain(children(self.id))
                .filter_map(|id| field(id, "smaps_rollup", "Pss:").ok())
                .sum()),
        }
    }

    /// Most KiB that were resident since [`Self::forget_peak`].
    pub fn peak_kib(&self) -> anyhow::Result<u64> {
        field(self.id, "status", "VmHWM:")
    }

    /// Whether its peak can be told: of a family the parts do not have theirs at once.
    pub const fn is_one(&self) -> bool {
        !self.is_family
    }

    /// Peaks are counted from now on.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.id), "5").context("clear_refs")
    }
}

fn ticks(id: u32, with_ended_children: bool) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("stat")?;
    let fields: Vec<f64> = rest.split_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect();
    let count = if with_ended_children { 4 } else { 2 };
    Ok(fields[11..11 + count].iter().sum())
}

fn children(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let own: Vec<u32> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let grand: Vec<u32> = own.iter().flat_map(|id| children(*id)).collect();
    own.into_iter().chain(grand).collect()
}

fn field(id: u32, file: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/{file}"))?;
    let line = text.lines().find(|line| line.starts_with(name)).context("no such field")?;
    Ok(line.split_whitespace().nth(1).context("no value")?.parse()?)
}
