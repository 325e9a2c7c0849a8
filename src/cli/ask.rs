//! Questions to the person at the terminal: pick one, yes or no, and a word to be typed before what cannot be taken back.
//!
//! Promises: asked only where standard input and standard error are terminals, on standard error, so that a result can still be
//! piped; whoever leaves with Esc or Ctrl-C said no, and the terminal is as it was. Foreign text in a question is escaped.

use std::io::{self, IsTerminal as _};

use inquire::error::InquireError;
use inquire::ui::RenderConfig;
use inquire::{Confirm, Select, Text};

use super::words::cut;
use super::{Failure, Kind};
use crate::paths::Environment;
use crate::reconcile::plain::plain;

/// Columns that the prompt itself needs beside an answer.
const MARGIN: usize = 4;
/// Answers shown at once.
const PAGE: usize = 12;

/// Somebody to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    colour: bool,
    width: usize,
}

impl Person {
    /// The person at the terminal of this process, if there is one.
    pub(super) fn at_terminal(environment: &Environment) -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() || environment.text("TERM") == Some("dumb") {
            return None;
        }
        let width = comfy_table::Table::new().width().map_or(80, usize::from);
        Some(Self { colour: environment.get("NO_COLOR").is_none(), width: width.max(20) })
    }

    /// Lets the person choose one of the answers, by typing a part of it or with the arrows; none if they leave.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn pick(self, question: &str, answers: &[String]) -> Result<Option<usize>, Failure> {
        let shown: Vec<String> = answers.iter().map(|answer| cut(&plain(answer), self.width - MARGIN)).collect();
        let question = plain(question);
        let select = Select::new(&question, shown).with_page_size(PAGE).with_render_config(self.config());
        Ok(answered(select.raw_prompt())?.map(|chosen| chosen.index))
    }

    /// Asks a question that is answered with yes or no; no by default.
    ///
    /// # Errors
    /// As [`Person::pick`].
    pub(super) fn agrees(self, question: &str) -> Result<bool, Failure> {
        let question = plain(question);
        let confirm = Confirm::new(&question).with_default(false).with_render_config(self.config());
        Ok(answered(confirm.prompt())?.unwrap_or(false))
    }

    /// Whether the person types exactly this.
    ///
    /// # Errors
    /// As [`Person::pick`].
    pub(super) fn types(self, question: &str, word: &str) -> Result<bool, Failure> {
        let question = plain(question);
        let text = Text::new(&question).with_render_config(self.config());
        Ok(answered(text.prompt())?.is_some_and(|typed| typed.trim() == word))
    }

    fn config(self) -> RenderConfig<'static> {
        if self.colour { RenderConfig::default_colored() } else { RenderConfig::empty() }
    }
}

fn answered<T>(answer: Result<T, InquireError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(InquireError::OperationCanceled | InquireError::OperationInterrupted) => Ok(None),
        Err(error) => Err(Failure::new(Kind::Failed, "the terminal cannot be asked").because(&error)),
    }
}
