//! A far replica, as a pass sees it: from one listing to the sessions of each repository that it may speak of.
//!
//! Promises: a codespace speaks of the repository that GitHub names, and of others only where the configuration admits it;
//! an id is taken from one project directory only. Pure but for nothing: values in, values out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codespace::wire::{FarFile, Listing, Token};
use crate::reconcile::layout::{Layout, Root, layout};
use crate::reconcile::manifest::{Part, ProjectName, SessionId, SidePath, Stamp, StorePath};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::report::Skipped;
use crate::reconcile::shared::put;
use crate::state::{Held, ReplicaMemory};
use litemap::LiteMap;

/// A file at a far replica.
#[derive(Debug, Clone)]
pub struct FarPart {
    /// Its stamp.
    pub stamp: Stamp,
    /// The same, as the far side wrote it.
    pub token: Token,
    /// What it holds, once that is known.
    pub held: Option<Arc<Held>>,
}

/// A session at a far replica.
#[derive(Debug, Clone)]
pub struct FarSession {
    /// Its project directory there.
    pub project: ProjectName,
    /// The path below the repository's root that it stands for.
    pub below: String,
    /// Its transcript.
    pub transcript: Option<FarPart>,
    /// Its side files.
    pub side: LiteMap<SidePath, FarPart>,
    /// A client has it open there.
    pub live: bool,
    /// Why it is not to be touched.
    pub closed: Option<String>,
    /// It claims what is not the far side's to claim.
    pub refused: bool,
}

impl FarSession {
    /// One of its files.
    #[must_use]
    pub fn part(&self, part: &Part) -> Option<&FarPart> {
        match part {
            Part::Transcript => self.transcript.as_ref(),
            Part::Side(side) => self.side.get(side),
        }
    }
}

/// A replica that has a repository, seen from that repository's group.
#[derive(Debug)]
pub struct FarMember {
    /// The repository.
    pub repository: RepositoryId,
    /// Where it lies there.
    pub layout: Layout,
    /// Its sessions.
    pub sessions: BTreeMap<SessionId, FarSession>,
    /// Sessions whose transcript lies there in a directory that is none of this repository: one id, one directory.
    pub elsewhere: BTreeMap<SessionId, ProjectName>,
    /// What lies where a directory is to be, of a project or of a session's side files, and why it is not entered.
    in_the_way: BTreeMap<(ProjectName, Option<SessionId>), String>,
}

impl FarMember {
    /// The project directory there for a session that is not there yet; none without a clone.
    #[must_use]
    pub fn directory_for(&self, below: &str) -> Option<ProjectName> {
        self.layout.roots.first().map(|root| ProjectName::of(&crate::reconcile::layout::join(root, below)))
    }

    /// The same for a session that is to be sent there. What belongs to another clone as well would not be read again.
    ///
    /// # Errors
    /// Why it has no place there, for people.
    pub fn room_for(&self, below: &str) -> Result<ProjectName, String> {
        let project = self.directory_for(below).ok_or("no clone of the repository there")?;
        if self.layout.others.contains_key(&project) || self.layout.reserved.contains(&project) {
            return Err(format!("{project} there is of another clone, too"));
        }
        Ok(project)
    }

    /// Why nothing can be installed there: the directory that it would lie in is a link, a pipe or the like.
    #[must_use]
    pub fn in_the_way(&self, path: &StorePath) -> Option<String> {
        let of = |session| self.in_the_way.get_key_value(&(path.project.clone(), session));
        let side = || of(Some(path.session)).filter(|_| path.part != Part::Transcript);
        let ((project, session), why) = of(None).or_else(side)?;
        Some(session.map_or_else(|| format!("{project} {why} there"), |session| format!("{project}/{session} {why} there")))
    }

    /// The path of a session's working directory there, for the directory of a machine without a clone.
    #[must_use]
    pub fn root(&self) -> &str {
        self.layout.roots.first().map_or("", String::as_str)
    }
}

/// Which repositories a replica may speak of.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The repository.
    pub repository: RepositoryId,
    /// Where clones are looked for.
    pub workspaces: String,
    /// Where it lies if no clone says so.
    pub default_root: Option<String>,
}

/// A link, a pipe or the like that has a session's name, or that of a directory, was passed over: nothing can be installed there.
fn close_what_is_in_the_way(members: &mut [FarMember], listing: &Listing) {
    for passed_over in &listing.skipped {
        let directory = match passed_over.name.split_once('/') {
            None => passed_over.name.parse().ok().map(|project| (project, None)),
            Some((project, session)) => project.parse().ok().zip(session.parse().ok().map(Some)),
        };
        if let Some(directory) = directory {
            let of = members.iter_mut().filter(|member| member.layout.projects.contains_key(&directory.0));
            of.for_each(|member| drop(member.in_the_way.insert(directory.clone(), passed_over.why.clone())));
            continue;
        }
        let Ok(StorePath { project, session, part: Part::Transcript }) = passed_over.name.parse() else { continue };
        for member in members.iter_mut() {
            let Some(below) = member.layout.projects.get(&project).cloned() else { continue };
            let new = FarSession { project: project.clone(), below, transcript: None, side: LiteMap::new(), live: false, closed: None, refused: false };
            member.sessions.entry(session).or_insert(new).closed = Some(passed_over.why.clone());
        }
    }
}

/// One id in the directories of two repositories: installed for both, it would lie twice here, and the client would resume neither.
fn close_what_two_repositories_have(members: &mut [FarMember], skipped: &mut Vec<Skipped>) {
    let mut projects: BTreeMap<SessionId, Vec<ProjectName>> = BTreeMap::new();
    for (id, session) in members.iter().flat_map(|member| &member.sessions) {
        projects.entry(*id).or_default().push(session.project.clone());
    }
    for (id, projects) in projects.into_iter().filter(|(_, projects)| projects.len() > 1) {
        let why = format!("lies in {} and {} there; the client resumes neither", projects[0], projects[1]);
        skipped.push(Skipped { name: id.to_string(), why: why.clone() });
        members.iter_mut().filter_map(|member| member.sessions.get_mut(&id)).for_each(|session| session.closed = Some(why.clone()));
    }
}

/// Sorts a listing by repository. `below` are, per repository, paths below the root that other members' sessions stand for.
/// What belongs to nobody admitted is listed in `skipped`.
#[must_use]
pub fn members(
    listing: &Listing,
    admitted: &[Admitted],
    below: &dyn Fn(&RepositoryId) -> Vec<String>,
    memory: Option<&ReplicaMemory>,
    live: &dyn Fn(SessionId, Option<Stamp>) -> bool,
    skipped: &mut Vec<Skipped>,
) -> Vec<FarMember> {
    let roots: Vec<Root> = listing
        .roots
        .iter()
        .map(|root| Root { path: root.path.clone(), remotes: root.remotes.iter().filter_map(|url| RepositoryId::from_remote(url)).collect() })
        .collect();
    let mut members: Vec<FarMember> = Vec::new();
    for Admitted { repository, workspaces, default_root } in admitted {
        let below = below(repository);
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        let layout = layout(repository, &roots, &listing.working_directories, &below, workspaces, default_root.as_deref());
        members.push(FarMember { repository: repository.clone(), layout, sessions: BTreeMap::new(), elsewhere: BTreeMap::new(), in_the_way: BTreeMap::new() });
    }
    let remembered = |path: &StorePath| {
        let files = &memory?.files;
        files.binary_search_by(|(known, _)| known.cmp(path)).ok().map(|at| &files[at].1)
    };
    let mut strangers: BTreeMap<ProjectName, usize> = BTreeMap::new();
    for FarFile { path, stamp, token } in &listing.files {
        if path.part == Part::Transcript {
            let others = members.iter_mut().filter(|member| !member.layout.projects.contains_key(&path.project));
            others.for_each(|member| drop(member.elsewhere.insert(path.session, path.project.clone())));
        }
        let Some(member) = members.iter_mut().find(|member| member.layout.projects.contains_key(&path.project)) else {
            *strangers.entry(path.project.clone()).or_default() += usize::from(path.part == Part::Transcript);
            continue;
        };
        let below = member.layout.projects.get(&path.project).cloned().unwrap_or_default();
        let session = member.sessions.entry(path.session).or_insert_with(|| FarSession {
            project: path.project.clone(),
            below,
            transcript: None,
            side: LiteMap::new(),
            live: false,
            closed: None,
            refused: false,
        });
        if session.project != path.project {
            let why = format!("lies in {} and {} there; the client resumes neither", session.project, path.project);
            skipped.push(Skipped { name: path.session.to_string(), why: why.clone() });
            session.closed = Some(why);
            continue;
        }
        let held = remembered(path).filter(|file| file.stamp == *stamp).map(|file| Arc::clone(&file.held));
        let part = FarPart { stamp: *stamp, token: token.clone(), held };
        match &path.part {
            Part::Transcript => session.transcript = Some(part),
            Part::Side(side) => put(&mut session.side, side.clone(), part),
        }
    }
    close_what_is_in_the_way(&mut members, listing);
    close_what_two_repositories_have(&mut members, skipped);
    for member in &mut members {
        for (id, session) in &mut member.sessions {
            // Where only times tell, a subagent at work counts as well.
            session.live = live(*id, session.transcript.as_ref().map(|part| part.stamp)) || session.side.values().any(|part| live(*id, Some(part.stamp)));
        }
    }
    for (project, count) in strangers.into_iter().filter(|(_, count)| *count > 0) {
        let other = members.iter().find_map(|member| member.layout.others.get(&project)).cloned().flatten();
        let contested = members.iter().any(|member| member.layout.contested.contains(&project));
        let why = match other {
            Some(repository) if contested => {
                format!("{count} sessions in a directory that stands for two places, one of them in a clone of {repository}: neither is synced")
            }
            Some(repository) => format!("{count} sessions of another clone, {repository}; `also_in` of its [[repository]] admits them"),
            None => format!("{count} sessions of no repository that is synced here"),
        };
        skipped.push(Skipped { name: project.to_string(), why });
    }
    members
}
