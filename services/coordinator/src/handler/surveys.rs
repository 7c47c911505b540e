//! Surveys for people and for the metrics. Who asks while one is under way waits for the next,
//! together with all others who do: nobody is told of a time before the question, and however many
//! ask, there is one survey at a time.

use bus::driver::Outcome;
use machines::conductor::{Answer, Ask};
use protocol::{InstanceId, UnixMillis};
use tokio::sync::oneshot;

use super::asked::Waiter;
use super::{Coordinator, measure};
use crate::handle::{Asker, Looked};

/// The survey of an instance that is under way, and who waits for it or for the next.
pub(super) struct Survey {
    since: UnixMillis,
    waiters: Vec<oneshot::Sender<Looked>>,
    next: Vec<oneshot::Sender<Looked>>,
}

impl Coordinator {
    /// Begins a survey, or promises the next one if one is under way.
    pub(super) fn survey(
        &mut self,
        id: InstanceId,
        waiters: Vec<oneshot::Sender<Looked>>,
        outcome: &mut Outcome,
    ) {
        // Dropping a waiter says that the instance is not known.
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if let Some(survey) = &mut instance.survey {
            survey.next.extend(waiters);
            return;
        }
        let since = service::now();
        instance.survey = Some(Survey { since, waiters, next: Vec::new() });
        let asker = Asker { actor: String::new(), remember_as: None };
        self.put(id, Waiter::Survey, asker, Ask::Look, outcome);
    }

    /// Everybody has answered, or the time is up.
    pub(super) fn surveyed(&mut self, id: InstanceId, answer: Answer, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let survey = instance.survey.take();
        let (Some(survey), Answer::Looked(findings)) = (survey, answer) else { return };
        measure::surveyed(&instance.name, &instance.conductor, &findings, survey.since);
        for waiter in survey.waiters {
            // Whoever asked may have gone.
            let _ = waiter.send(Looked { findings: findings.clone(), since: survey.since });
        }
        if !survey.next.is_empty() {
            self.survey(id, survey.next, outcome);
        }
    }
}
