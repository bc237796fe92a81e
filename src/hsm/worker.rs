//! The threads that call the module, one session each, and what they do about what it returns.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use cryptoki_sys as ck;

use super::breaker::Admission;
use super::class::{Class, class};
use super::error::{CallError, HsmError};
use super::key;
use super::life::{Life, Need, Token, logged_in};
use super::module::{Object, Session};
use super::operation::{Fault, Hands};
use super::pool::{Answer, Core, Desk, Job, Order, too_late};
use super::probe;

/// One thread and the one session it uses.
pub(super) struct Worker {
    core: Arc<Core>,
    desk: Arc<Desk>,
    session: Option<OwnSession>,
}

#[derive(Clone, Copy)]
struct OwnSession {
    handle: Session,
    generation: u64,
}

/// Why one try failed.
enum Setback {
    Fault(Fault),
    /// The version is not in this life.
    Missing(u32),
    /// The keys in the token are not this life's.
    Stale,
    /// Somebody began anew meanwhile.
    Outlived,
    /// The deadline passed before the module was entered.
    TooLate,
}

impl<E: Into<Fault>> From<E> for Setback {
    fn from(fault: E) -> Self {
        Self::Fault(fault.into())
    }
}

impl Worker {
    pub(super) fn new(core: Arc<Core>, desk: Arc<Desk>) -> Self {
        Self {
            core,
            desk,
            session: None,
        }
    }

    /// Serves the queue until it ends, or until others have given this thread up.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        while !self.core.closing.load(Ordering::Acquire) {
            // To open a session is a call into the module, too, and may hang like any other.
            let patience = self.core.token.config.deadline;
            self.busy_until(Instant::now() + patience);
            let ready = self.prepare();
            self.desk.busy_until.store(0, Ordering::Release);
            if self.desk.given_up.load(Ordering::Acquire) {
                break;
            }
            if !ready {
                std::thread::sleep(NAP);
                continue;
            }
            let Ok(job) = queue.recv() else { break };
            if Instant::now() >= job.deadline {
                continue;
            }
            self.busy_until(job.deadline);
            self.serve(job);
            self.desk.busy_until.store(0, Ordering::Release);
            if self.desk.given_up.load(Ordering::Acquire) {
                break;
            }
        }
    }

    fn busy_until(&self, deadline: Instant) {
        let until = self.core.until(deadline);
        self.desk.busy_until.store(until, Ordering::Release);
    }

    /// Whether it may take a job: not while it has no session and the token gives no more of them
    /// but other workers have one.
    fn prepare(&mut self) -> bool {
        let token = Arc::clone(&self.core.token);
        let Some(life) = token.life() else {
            return true;
        };
        let Some(_inside) = token
            .module
            .gate
            .enter(Instant::now() + token.config.deadline)
        else {
            return true;
        };
        match self.session(&life) {
            Err(Setback::Fault(Fault::Call { error, .. }))
                if error.code == ck::CKR_SESSION_COUNT =>
            {
                !self.others_have_sessions()
            }
            _ => true,
        }
    }

    fn serve(&mut self, mut job: Job) {
        let outcome = self.perform(&job);
        if let Err(HsmError::Call {
            code: ck::CKR_SESSION_COUNT,
            ..
        }) = &outcome
            && self.session.is_none()
            && self.others_have_sessions()
            && let Some(orders) = self.core.orders.upgrade()
        {
            match orders.try_send(job) {
                Ok(()) => return,
                Err(refused) => job = refused.into_inner(),
            }
        }
        match &outcome {
            Ok(_) | Err(HsmError::Rejected { .. } | HsmError::KeyMissing { .. }) => {
                self.core.timeouts.store(0, Ordering::Relaxed);
                self.core.breaker.shut();
            }
            Err(error) if job.admission == Admission::Trial => {
                self.core.breaker.trip(error.clone());
            }
            Err(_) => {}
        }
        // Nobody waits any more if the deadline passed; then a secret is wiped here.
        let _ = job.reply.send(outcome);
    }

    fn perform(&mut self, job: &Job) -> Result<Answer, HsmError> {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let mut last = CallError {
            function: job.order.function(),
            code: 0,
        };
        let mut vague = 0;
        let mut begun_anew = false;
        for round in 0..MAX_ROUNDS {
            if Instant::now() >= job.deadline {
                return Err(too_late(token, last.function));
            }
            let Some(life) = token.life() else {
                self.recover(Need::Login, None, job)?;
                continue;
            };
            let (error, blob) = match self.attempt(&life, job) {
                Ok(answer) => return Ok(answer),
                Err(Setback::Fault(Fault::Call { error, blob })) => (error, blob),
                Err(Setback::Fault(Fault::Other(error))) => return Err(error),
                Err(Setback::Outlived) => continue,
                Err(Setback::TooLate) => return Err(too_late(token, last.function)),
                Err(Setback::Stale) => {
                    self.recover(Need::Login, Some(&life), job)?;
                    continue;
                }
                Err(Setback::Missing(version)) => {
                    if token.may_look_again() {
                        self.recover(Need::Login, Some(&life), job)?;
                        continue;
                    }
                    return Err(HsmError::KeyMissing {
                        place: token.place.clone(),
                        key: key::name(&token.config, version),
                        version,
                    });
                }
            };
            last = error;
            match class(error.code) {
                Class::Session => self.forget_session(),
                Class::Login => self.recover(Need::Login, Some(&life), job)?,
                Class::Module => self.recover(Need::Module, Some(&life), job)?,
                Class::Busy
                    if error.code == ck::CKR_SESSION_COUNT
                        && self.session.is_none()
                        && self.others_have_sessions() =>
                {
                    return Err(error.at(&token.place));
                }
                Class::Busy => std::thread::sleep(BUSY_PAUSE * (round + 1)),
                Class::Pin | Class::Never => return Err(error.at(&token.place)),
                Class::Vague => match self.sees_login(&life, job.deadline) {
                    None => self.forget_session(),
                    Some(false) => self.recover(Need::Login, Some(&life), job)?,
                    Some(true) if vague < 2 => vague += 1,
                    Some(true) if self.is_healthy(&life, &job.order, job.deadline) => {
                        return Err(if blob {
                            HsmError::Rejected {
                                place: token.place.clone(),
                            }
                        } else {
                            error.at(&token.place)
                        });
                    }
                    Some(true) if begun_anew => break,
                    Some(true) => {
                        self.recover(Need::Module, Some(&life), job)?;
                        begun_anew = true;
                        vague = 0;
                    }
                },
            }
        }
        let error = last.at(&token.place);
        if class(last.code) != Class::Busy {
            core.breaker.trip(error.clone());
        }
        Err(error)
    }

    /// One try, inside the module.
    fn attempt(&mut self, life: &Life, job: &Job) -> Result<Answer, Setback> {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let _inside = token
            .module
            .gate
            .enter(job.deadline)
            .ok_or(Setback::TooLate)?;
        let session = self.session(life)?;
        let hands = Hands::new(&token.module, session, token.mechanism());
        let key = |version: u32| -> Result<Object, Setback> {
            life.keys
                .get(&version)
                .copied()
                .ok_or(Setback::Missing(version))
        };
        let answer = match &job.order {
            Order::Start => Ok(Answer::Done),
            Order::Wrap(version, secret) => hands.wrap(key(*version)?, secret).map(Answer::Blob),
            Order::Unwrap(version, blob) => hands.unwrap(key(*version)?, blob).map(Answer::Secret),
            Order::Rewrap(from, to, blob) => {
                hands.rewrap(key(*from)?, key(*to)?, blob).map(Answer::Blob)
            }
            Order::Random => hands.random().map(Answer::Secret),
            Order::Health => {
                let found = key::find(&token.module, session, &token.config, &token.place)?;
                if !found
                    .iter()
                    .map(|(version, key)| (version, &key.object))
                    .eq(&life.keys)
                {
                    return Err(Setback::Stale);
                }
                ask_all(&hands, token, life).map(|()| Answer::Done)
            }
        };
        if hands.unclean.get() {
            self.close_session_inside();
        }
        Ok(answer?)
    }

    /// Its session of this life, opened if need be. The caller is inside the module.
    fn session(&mut self, life: &Life) -> Result<Session, Setback> {
        let core = Arc::clone(&self.core);
        let module = &*core.token.module;
        if module.generation() != life.generation {
            return Err(Setback::Outlived);
        }
        match self.session {
            Some(session) if session.generation == life.generation => Ok(session.handle),
            stale => {
                // The number of a session from before may be another's by now: it is not closed.
                if stale.is_some() {
                    self.forget_session();
                }
                let handle = module.open_session(life.slot)?;
                core.sessions.fetch_add(1, Ordering::Relaxed);
                self.session = Some(OwnSession {
                    handle,
                    generation: life.generation,
                });
                Ok(handle)
            }
        }
    }

    /// Begins a new life; failing that, the breaker opens.
    fn recover(&mut self, need: Need, seen: Option<&Life>, job: &Job) -> Result<(), HsmError> {
        let token = &self.core.token;
        // Others may have tried and failed while this one waited for its turn.
        if job.admission == Admission::Normal
            && let Some(reason) = self.core.breaker.reason()
        {
            return Err(reason);
        }
        let seen = seen.map_or(0, |life| life.epoch);
        token
            .recover(need, seen, job.deadline, token.config.deadline)
            .inspect_err(|error| {
                self.core.breaker.trip(error.clone());
            })
    }

    /// Whether the session is logged in; `None` if there is no telling.
    fn sees_login(&self, life: &Life, deadline: Instant) -> Option<bool> {
        let module = &*self.core.token.module;
        let _inside = module.gate.enter(deadline)?;
        let session = self
            .session
            .filter(|_| module.generation() == life.generation)?;
        logged_in(module, session.handle).ok()
    }

    /// Whether a key of this order still gives the known answer, in this very session.
    fn is_healthy(&mut self, life: &Life, order: &Order, deadline: Instant) -> bool {
        let core = Arc::clone(&self.core);
        let token = &*core.token;
        let version = match order {
            Order::Wrap(version, _) | Order::Unwrap(version, _) | Order::Rewrap(version, ..) => {
                Some(*version)
            }
            Order::Start | Order::Random | Order::Health => life.keys.keys().next_back().copied(),
        };
        let Some((key, answer)) =
            version.and_then(|version| Some((*life.keys.get(&version)?, token.answer(version)?)))
        else {
            return false;
        };
        let Some(_inside) = token.module.gate.enter(deadline) else {
            return false;
        };
        let Ok(session) = self.session(life) else {
            return false;
        };
        let hands = Hands::new(&token.module, session, token.mechanism());
        let healthy = (0..3).any(|_| probe::check(&hands, key, &answer).is_ok());
        if hands.unclean.get() {
            self.close_session_inside();
        }
        healthy
    }

    fn others_have_sessions(&self) -> bool {
        let own = usize::from(self.session.is_some());
        self.core.sessions.load(Ordering::Relaxed) > own
    }

    /// Closes the session while inside the module, with every object in it.
    fn close_session_inside(&mut self) {
        if let Some(session) = self.session
            && session.generation == self.core.token.module.generation()
        {
            // It is given up whatever the module answers.
            let _ = self.core.token.module.close_session(session.handle);
        }
        self.forget_session();
    }

    fn forget_session(&mut self) {
        if self.session.take().is_some() {
            self.core.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let core = Arc::clone(&self.core);
        if let Some(_inside) = core.token.module.gate.enter(Instant::now() + CLOSE_WAIT) {
            self.close_session_inside();
        }
    }
}

fn ask_all(hands: &Hands<'_>, token: &Token, life: &Life) -> Result<(), Fault> {
    for (version, key) in &life.keys {
        if let Some(answer) = token.answer(*version) {
            probe::check(hands, *key, &answer)?;
        }
    }
    Ok(())
}

/// Tries of one job, recoveries included.
const MAX_ROUNDS: u32 = 12;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How long a worker without a session leaves the queue to the others.
const NAP: Duration = Duration::from_millis(250);
const CLOSE_WAIT: Duration = Duration::from_secs(1);
