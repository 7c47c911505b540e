//! JSON of the coordinator's HTTP interface (`/v1`), shared by the coordinator and its clients.

mod findings;
mod instance;
mod rotation;

pub use self::findings::{Explanation, Problem, Unmet, Waiting};
pub use self::instance::{
    AnnouncedMember, AuditView, InstanceView, ManifestRequest, ManifestView, UnitEnvelope,
    UnitStateView, UnitView, UnitsView,
};
pub use self::rotation::{
    CheckedPlan, KeyCheckView, OrderDraft, OrderDraftRequest, PlanView, RotationEvent,
    RotationView, StartRotation, Started,
};
