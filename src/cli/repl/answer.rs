//! One turn of the REPL: what was typed joins the text, the model continues it, and the end of the context is told.

use super::{Repl, TurnError, wrap::Wrap};
use crate::cli::{
    output::{Out, note},
    stats,
};
use halfwarp::engine::{FinishReason, GenerateParams};
use std::io::IsTerminal;

impl Repl<'_> {
    /// Adds `typed` to the text and lets the model continue it. After an error the text is what it was before.
    pub fn turn(&mut self, typed: &str) -> Result<FinishReason, TurnError> {
        let before = self.text.mark();
        let outcome = self.text.push(typed).and_then(|n_typed| self.answer(n_typed));
        if outcome.is_err() {
            self.text.back_to(before);
        }
        outcome
    }

    /// Continues the text, whose last `n_typed` tokens are new.
    fn answer(&mut self, n_typed: usize) -> Result<FinishReason, TurnError> {
        let mut params = self.settings.params()?;
        let eos = self.text.conversation().zip(self.model.engine.tokenizer().ok());
        params.stop_token_ids.extend(eos.and_then(|(talk, tokenizer)| talk.eos_token_id(tokenizer)));
        params.cancel = self.interrupt.answer_begins();
        let mut answer = Answer::new();
        let outcome = self.continue_text(&mut params, n_typed, &mut answer);
        self.interrupt.answer_ends();
        answer.end_line()?;
        if matches!(outcome, Ok(FinishReason::Stop)) && answer.is_empty {
            note(format_args!("[the model ends the text here; /set ignore-eos on goes past that]"));
        }
        outcome
    }

    /// Generates until the answer ends. At the end of the context it stops, or goes on with a part of the text.
    fn continue_text(
        &mut self,
        params: &mut GenerateParams,
        mut n_typed: usize,
        answer: &mut Answer,
    ) -> Result<FinishReason, TurnError> {
        let (n_max, n_min) = (params.max_tokens.unwrap_or(usize::MAX), params.min_tokens);
        loop {
            let n_ctx = self.n_ctx();
            match self.text.make_room(n_ctx, n_typed, self.settings.context_shift && !self.chat.chat) {
                Ok(None) => {}
                Ok(Some(n_kept)) => {
                    answer.end_line()?;
                    note(format_args!(
                        "[the context of {n_ctx} tokens is full: going on with the last {n_kept}]"
                    ));
                }
                Err(full) if answer.n_tokens == 0 => return Err(full),
                Err(full) => {
                    answer.end_line()?;
                    note(format_args!("[{full}]"));
                    return Ok(FinishReason::Length);
                }
            }
            params.max_tokens = Some((n_ctx - self.text.n_context()).min(n_max - answer.n_tokens));
            params.min_tokens = n_min.saturating_sub(answer.n_tokens);
            let completion = self.text.generate(params, |text| answer.write(text))?;
            answer.n_tokens += completion.stats.n_generated;
            n_typed = 0;
            if self.settings.stats {
                answer.end_line()?;
                note(format_args!("{}", stats::line(self.model, &completion.stats, params.sampling.seed)));
            }
            if completion.finish_reason != FinishReason::Length || answer.n_tokens >= n_max {
                return Ok(completion.finish_reason);
            }
        }
    }
}

/// An answer on its way to standard output.
struct Answer {
    out: Out,
    n_tokens: usize,
    is_empty: bool,
    at_line_start: bool,
    /// Breaks the lines of a terminal.
    wrap: Option<Wrap>,
}

impl Answer {
    fn new() -> Self {
        // In the last column some terminals begin a line by themselves.
        let wrap = terminal_size::terminal_size_of(std::io::stdout())
            .filter(|_| std::io::stdout().is_terminal())
            .map(|(width, _)| Wrap::new(usize::from(width.0).saturating_sub(1)));
        Self { out: Out::new(), n_tokens: 0, is_empty: true, at_line_start: true, wrap }
    }

    fn write(&mut self, text: &str) -> Result<(), TurnError> {
        if !text.is_empty() {
            (self.is_empty, self.at_line_start) = (false, text.ends_with('\n'));
            match &mut self.wrap {
                Some(wrap) => self.out.write(wrap.push(text))?,
                None => self.out.write(text)?,
            }
            self.out.flush()?;
        }
        Ok(())
    }

    /// Ends the line, if there is one.
    fn end_line(&mut self) -> Result<(), TurnError> {
        if !self.at_line_start {
            self.out.line(self.wrap.as_mut().map(Wrap::finish).unwrap_or_default())?;
            self.out.flush()?;
            self.at_line_start = true;
        }
        Ok(())
    }
}
