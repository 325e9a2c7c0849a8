//! The pass and the look, as the agent wants them.

use std::rc::Rc;

use chrono::{DateTime, Utc};

use crate::agent::work::{Errand, Expiring, LookEnd, PassEnd, PassOutcome, PlaceEnd, Work};
use crate::cli::told;
use crate::lock::LockError;
use crate::pass::account::Account;
use crate::pass::contacts::Contacts;
use crate::pass::said::Said;
use crate::pass::{self, Looked, Options, PassError, Setting};
use crate::reconcile::quiet::Occasion;
use crate::reconcile::report::{Fault, FaultKind, Outcome, Report};
use crate::state::State;

/// What lasts from one pass, and from one configuration, to the next.
#[derive(Debug, Default)]
pub(super) struct Worker {
    account: Account,
    said: Said,
    contacts: Contacts,
}

impl Worker {
    /// The work with a setting.
    pub(super) fn work(&mut self, setting: Setting) -> Work {
        let last_good = State::open(&setting.paths.state).ok().and_then(|state| state.last_good);
        let setting = Rc::new(Setting { account: self.account.clone(), said: self.said.clone(), contacts: self.contacts.clone(), ..setting });
        let (of_look, account) = (Rc::clone(&setting), self.account.clone());
        Work {
            pass: Box::new(move |errand| {
                let setting = Rc::clone(&setting);
                Box::pin(async move { make(&setting, errand).await })
            }),
            look: Box::new(move || {
                let setting = Rc::clone(&of_look);
                Box::pin(async move { seen(pass::look(&setting, Utc::now()).await) })
            }),
            token: Box::new(move || account.token_source()),
            last_good,
        }
    }
}

async fn make(setting: &Setting, errand: Errand) -> PassEnd {
    let began = Utc::now();
    let occasion = if errand.only.is_some() { Occasion::Look } else { Occasion::Pass };
    let options = Options { names: errand.only.into_iter().flatten().collect(), occasion: Some(occasion), ..Options::default() };
    match pass::run(setting, &options, began).await {
        Ok(report) => of_report(&report),
        Err(error) => of_error(&error, began),
    }
}

fn seen(looked: Looked) -> LookEnd {
    let expiring = looked.expiring.into_iter().map(|codespace| Expiring {
        name: codespace.name,
        at: codespace.at,
        why: codespace.unsaved.to_string(),
        hint: codespace.command,
    });
    LookEnd {
        expiring: expiring.collect(),
        due: looked.due.into_iter().map(|(name, _)| name).collect(),
        next: looked.next,
        running: looked.running,
        fault: looked.fault,
        retry_after: looked.wait.map(|wait| wait.as_secs()),
    }
}

fn of_report(report: &Report) -> PassEnd {
    let places = report.visits.iter().filter_map(|visit| {
        let fault = match &visit.outcome {
            Outcome::Visited => None,
            Outcome::Failed(fault) => Some(fault.clone()),
            Outcome::NotVisited { .. } => return None,
        };
        Some(PlaceEnd { name: visit.name.clone(), fault })
    });
    PassEnd {
        began: report.began,
        ended: report.ended,
        summary: told::summary(report),
        outcome: report.listing.clone().map_or(PassOutcome::Made, PassOutcome::Unlisted),
        disk: report.disk.clone(),
        places: places.collect(),
        running: report.running.clone(),
    }
}

fn of_error(error: &PassError, began: DateTime<Utc>) -> PassEnd {
    let outcome = match error {
        PassError::Lock(LockError::Busy { .. }) => PassOutcome::Busy,
        PassError::Here { source, .. } | PassError::Lock(LockError::Unusable { source, .. }) => {
            PassOutcome::Failed(Fault { permanent: true, ..Fault::new(pass::faults::of_io(source), error.whole()) })
        }
        PassError::Listing(fault) => PassOutcome::Unlisted(fault.clone()),
        error => PassOutcome::Failed(Fault::new(FaultKind::Other, error.to_string())),
    };
    PassEnd { began, ended: Utc::now(), summary: error.to_string(), outcome, disk: None, places: Vec::new(), running: None }
}
