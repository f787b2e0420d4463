//! What each thread of a grid knows of the accesses of the others.
//!
//! A warp has an epoch, which grows whenever one of its lanes lets others know what it did, or learns something itself: so a
//! warp, a lane and an epoch say what was known at an access. Lanes that have always learned the same share one [`View`].

use super::clock::{Clock, Known};
use crate::machine::Scope;
use std::{cell::Cell, mem, sync::Arc};

/// What a lane knows: of other warps, and of the lanes of its own warp (but for itself, of which it knows all).
#[derive(Debug, Clone)]
struct View {
    others: Arc<Clock>,
    own: Known,
}

/// The views of the lanes of a warp.
#[derive(Debug, Clone)]
enum Views {
    Same(View),
    Apart(Arc<[View; 32]>),
}

impl Views {
    #[inline(always)]
    fn of(&self, lane: u32) -> &View {
        match self {
            Views::Same(view) => view,
            Views::Apart(views) => &views[lane as usize & 31],
        }
    }

    fn apart(&mut self) -> &mut [View; 32] {
        if let Views::Same(view) = self {
            *self = Views::Apart(Arc::new(std::array::from_fn(|_| view.clone())));
        }
        match self {
            Views::Apart(views) => Arc::make_mut(views),
            Views::Same(_) => unreachable!("they were set apart above"),
        }
    }
}

/// What a fence made ready to be released by a later write.
#[derive(Debug, Clone)]
struct Fenced {
    mask: u32,
    scope: Scope,
    views: Views,
    epoch: u32,
}

/// What relaxed reads saw, for a later fence to acquire.
#[derive(Debug, Clone)]
struct Pending {
    mask: u32,
    scope: Scope,
    clock: Arc<Clock>,
}

/// A warp.
#[derive(Debug, Clone)]
pub struct Warp {
    /// Number in the grid.
    number: u32,
    /// Lanes that do not exist.
    absent: u32,
    /// Lanes that exist and have not left.
    live: u32,
    epoch: u32,
    views: Views,
    fenced: Vec<Fenced>,
    pending: Vec<Pending>,
    /// What [`Warp::knows_all_until`] found lately, by the end of the number of the warp asked about: that number, the epoch when it was
    /// asked, and the answer. What lanes know changes with the epoch only.
    until: [Cell<(u32, u32, u32)>; 4],
}

impl Warp {
    /// The warp of this number, with these lanes, before it does anything.
    pub fn new(number: u32, lanes: u32) -> Warp {
        let view = View { others: Arc::default(), own: Known::All(0) };
        Warp {
            number,
            absent: !lanes,
            live: lanes,
            epoch: 1,
            views: Views::Same(view),
            fenced: Vec::new(),
            pending: Vec::new(),
            // No warp has epoch 0.
            until: Default::default(),
        }
    }

    /// The epoch that accesses fall into now.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether all of `mask` know all accesses of the lanes `others` of `warp` up to `epoch`.
    #[inline(always)]
    pub fn knows(&self, mask: u32, warp: u32, others: u32, epoch: u32) -> bool {
        let by = |view: &View, me: u32| {
            let known = if warp == self.number { Some(&view.own) } else { view.others.get(warp) };
            match known {
                Some(Known::All(e)) if *e >= epoch => true,
                Some(known) => {
                    lanes(others).all(|l| known.of(l) >= epoch || (warp == self.number && l == me))
                }
                None => false,
            }
        };
        match &self.views {
            // Only the exception for a lane's own accesses differs from lane to lane.
            Views::Same(view) if warp != self.number => by(view, 32),
            views => lanes(mask).all(|me| by(views.of(me), me)),
        }
    }

    /// The largest epoch of `warp` that every lane of this warp knows for every lane of that one; 0 if that differs from lane to lane.
    #[inline(always)]
    pub fn knows_all_until(&self, warp: u32) -> u32 {
        match self.until[warp as usize % 4].get() {
            (about, epoch, until) if (about, epoch) == (warp, self.epoch) => until,
            _ => self.find_until(warp),
        }
    }

    #[inline(never)]
    fn find_until(&self, warp: u32) -> u32 {
        let known = match &self.views {
            Views::Same(view) if warp == self.number => Some(&view.own),
            Views::Same(view) => view.others.get(warp),
            Views::Apart(_) => None,
        };
        let until = if let Some(Known::All(epoch)) = known { *epoch } else { 0 };
        self.until[warp as usize % 4].set((warp, self.epoch, until));
        until
    }

    /// All that the lanes of `mask` know, themselves included; what they do from now on is not in it.
    pub fn publish(&mut self, mask: u32) -> Clock {
        let mut all = Gathering::default();
        all.add(self, mask);
        all.finish()
    }

    /// The lanes of `mask` learn `clock`.
    pub fn acquire(&mut self, mask: u32, clock: &Arc<Clock>) {
        let own = clock.get(self.number).cloned().unwrap_or(Known::All(0));
        let learn = |view: &View| {
            let others = if view.others.covers(clock) {
                view.others.clone()
            } else if clock.covers(&view.others) {
                clock.clone()
            } else {
                let mut joined = Clock::clone(&view.others);
                joined.join(clock);
                Arc::new(joined)
            };
            View { others, own: view.own.join(&own) }
        };
        match &mut self.views {
            Views::Same(view) if mask & self.live == self.live => *view = learn(view),
            views => {
                let views = views.apart();
                for lane in lanes(mask) {
                    views[lane as usize] = learn(&views[lane as usize]);
                }
            }
        }
        self.epoch += 1;
    }

    /// The lanes of `mask` know exactly `clock`, which holds all that they knew.
    pub fn adopt(&mut self, mask: u32, clock: &Arc<Clock>) {
        let own = clock.get(self.number).cloned().unwrap_or(Known::All(0));
        let view = View { others: clock.clone(), own };
        if mask & self.live == self.live {
            self.views = Views::Same(view);
        } else {
            let views = self.views.apart();
            lanes(mask).for_each(|lane| views[lane as usize] = view.clone());
        }
        self.epoch += 1;
    }

    /// `bar.warp.sync` of the lanes of `mask`.
    pub fn synchronise(&mut self, mask: u32) {
        match &mut self.views {
            Views::Same(view) if mask & self.live == self.live => {
                let all = mask | self.absent;
                view.own =
                    if all == u32::MAX { Known::All(self.epoch) } else { view.own.raised(all, self.epoch) };
                self.epoch += 1;
            }
            _ => {
                let clock = Arc::new(self.publish(mask));
                self.adopt(mask, &clock);
            }
        }
    }

    /// A fence of the lanes of `mask`: acquires what their relaxed reads saw, and lets their later writes release what came before.
    pub fn fence(&mut self, mask: u32, scope: Scope) {
        for p in mem::take(&mut self.pending) {
            let here = p.mask & mask;
            if here != 0 && p.scope <= scope {
                self.acquire(here, &p.clock);
            }
            let mask = if p.scope <= scope { p.mask & !here } else { p.mask };
            if mask != 0 {
                self.pending.push(Pending { mask, ..p });
            }
        }
        for f in &mut self.fenced {
            f.mask &= if f.scope <= scope { !mask } else { u32::MAX };
        }
        self.fenced.retain(|f| f.mask != 0);
        self.fenced.push(Fenced { mask, scope, views: self.views.clone(), epoch: self.epoch });
        self.epoch += 1;
    }

    /// What a strong write of a lane releases because of fences before it, and for whom.
    pub fn fenced(&self, lane: u32) -> Vec<(Scope, Clock)> {
        let before = |f: &Fenced| {
            let mut all = Gathering::default();
            all.add_views(&f.views, (self.number, self.absent), 1 << lane, f.epoch);
            (f.scope, all.finish())
        };
        self.fenced.iter().filter(|f| f.mask >> lane & 1 == 1).map(before).collect()
    }

    /// A relaxed read of a lane saw what `clock` was released with; a fence of at least `scope` will acquire it.
    pub fn saw(&mut self, lane: u32, scope: Scope, clock: &Arc<Clock>) {
        let same = |p: &&mut Pending| p.scope == scope && Arc::ptr_eq(&p.clock, clock);
        match self.pending.iter_mut().find(same) {
            Some(p) => p.mask |= 1 << lane,
            None => self.pending.push(Pending { mask: 1 << lane, scope, clock: clock.clone() }),
        }
    }

    /// Whether a lane knows all of `clock`.
    pub fn covers(&self, lane: u32, clock: &Clock) -> bool {
        let view = self.views.of(lane);
        let own =
            clock.get(self.number).is_none_or(|k| (0..32).all(|l| l == lane || view.own.of(l) >= k.of(l)));
        own && view.others.covers(clock)
    }

    /// Lanes leave.
    pub fn leave(&mut self, mask: u32) {
        self.live &= !mask;
    }
}

/// What several lanes know together.
#[derive(Debug, Default)]
pub struct Gathering {
    clock: Clock,
    /// What was added last: lanes mostly know the same of others.
    last: Option<Arc<Clock>>,
}

impl Gathering {
    /// Adds all that the lanes of `mask` know, themselves included; what they do from now on is not in it.
    pub fn add(&mut self, warp: &mut Warp, mask: u32) {
        self.add_views(&warp.views, (warp.number, warp.absent), mask, warp.epoch);
        warp.epoch += 1;
    }

    fn add_views(&mut self, views: &Views, (number, absent): (u32, u32), mask: u32, epoch: u32) {
        let mut own = Known::All(0);
        for lane in lanes(if matches!(views, Views::Same(_)) { 1 } else { mask }) {
            let view = views.of(lane);
            own = own.join(&view.own);
            if self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &view.others)) {
                self.clock.join(&view.others);
                self.last = Some(view.others.clone());
            }
        }
        let all = mask | absent;
        let own = if all == u32::MAX { Known::All(epoch) } else { own.raised(all, epoch) };
        self.clock.raise(number, &own);
    }

    /// All of it.
    pub fn finish(self) -> Clock {
        self.clock
    }
}

/// The numbers of the lanes of `mask`.
#[inline(always)]
pub fn lanes(mask: u32) -> impl Iterator<Item = u32> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros();
        (rest != 0).then(|| {
            rest &= rest - 1;
            lane
        })
    })
}
