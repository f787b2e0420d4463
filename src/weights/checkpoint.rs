//! The files of a model: config.json and weights, open, and the tensors held against the description.
//!
//! Everything is checked before anything is used, so one error names every problem. Tensors that are no part of the model
//! (masks, heads for other tasks) are ignored, as Hugging Face does, and listed by `halfwarp info`; those of layers that
//! config.json does not count are refused, because ignoring them changes the result. Called by [`Weights::open`],
//! `halfwarp info` and `halfwarp convert`. Tested in `tests/malformed_weights/` and `tests/formats.rs`.

use super::{Filling, LoadOptions, Matrix, StoredType, Weights, WeightsError, matrix::vector, scan};
use crate::{
    family::{Description, GenerationConfig, Layout, Role, Slot},
    format::{self, Dtype, Tensor, Tensors},
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// A model's files, open, each valid by itself.
pub struct Checkpoint {
    pub(crate) description: Description,
    pub(crate) generation: GenerationConfig,
    /// The tensors that the model needs, as the checkpoint stores them.
    slots: Vec<Slot>,
    tensors: Tensors,
}

/// What is stored in one element type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtypeTotal {
    /// The format's name for the type.
    pub dtype: String,
    /// Elements.
    pub n_params: u64,
    /// Bytes.
    pub n_bytes: u64,
}

impl Checkpoint {
    /// Opens the model at `path`: a folder, or a weights file with config.json beside it.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self, WeightsError> {
        let is_file = format::is_weights_file(path);
        let folder = if is_file { path.parent().unwrap_or(Path::new("")) } else { path };
        let config = folder.join("config.json");
        if folder.is_dir() && !format::exists(&config)? {
            return Err(WeightsError::NoConfig { folder: folder.into() });
        }
        let mut description = Description::parse(&format::read_text(&config)?)?;
        let generation = generation(folder, &mut description)?;
        let tensors = Tensors::open(path, description.family.prefixes, options.read)?;
        Ok(Self { generation, ..Self::new(description, tensors)? })
    }

    /// The model that is compiled into the crate. Fails where the crate was built from its package, which has no weights.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Self, WeightsError> {
        use super::bundled;
        let description = Description::parse(bundled::CONFIG)?;
        let path = Path::new("tales/model.safetensors");
        if bundled::weights().is_empty() {
            return Err(WeightsError::NotBundled);
        }
        let tensors = Tensors::from_static(bundled::weights(), path, description.family.prefixes)?;
        Self::new(description, tensors)
    }

    fn new(description: Description, tensors: Tensors) -> Result<Self, WeightsError> {
        let shape_of = |name: &str| tensors.get(name).map(|tensor| &*tensor.shape);
        let layout = (description.family.layout)(&description.config, &shape_of);
        let slots = (description.family.slots)(&description.config, layout);
        let generation = GenerationConfig::default();
        let mut checkpoint = Self { description, generation, slots, tensors };
        checkpoint.find_tied_matrix();
        for slot in &checkpoint.slots {
            checkpoint.tensors.narrow(&slot.name)?;
        }
        Ok(checkpoint)
    }

    /// A tied matrix may be stored under the head's name alone: that is what is left of the pair where a writer drops tensors
    /// that share their memory.
    fn find_tied_matrix(&mut self) {
        let Some((embd, head)) = self.tied_names() else { return };
        if self.tensors.get(&embd).is_none() && self.tensors.get(&head).is_some() {
            let of_tokens = self.slots.iter_mut().filter(|slot| slot.role == Role::TokenEmbd);
            of_tokens.for_each(|slot| slot.name.clone_from(&head));
        }
    }

    /// The names of the token embeddings and of a head, in a model whose head is tied.
    fn tied_names(&self) -> Option<(String, String)> {
        let config = &self.description.config;
        if !config.tied {
            return None;
        }
        let untied = crate::Config { tied: false, ..config.clone() };
        let slots = (self.description.family.slots)(&untied, Layout::OutIn);
        let name = |role| slots.iter().find(|slot| slot.role == role).map(|slot| slot.name.clone());
        Some((name(Role::TokenEmbd)?, name(Role::Head)?))
    }

    /// Checks the tensors and makes the model of them.
    pub fn weights(&self, options: &LoadOptions) -> Result<Weights, WeightsError> {
        self.check()?;
        if !options.allow_nonfinite {
            self.check_finite()?;
        }
        let config = self.description.config.clone();
        Weights::fill(config, self.slots.clone(), |slot| Ok(fill(slot, self.get(slot)?)))
    }

    /// The weights files and their sizes in bytes.
    pub(crate) fn files(&self) -> &[(PathBuf, u64)] {
        &self.tensors.files
    }

    /// What fills `place` as it is stored, where the checkpoint has it; a vector is one row.
    pub(crate) fn matrix(&self, place: &Slot) -> Option<Matrix> {
        let slot = self.slots.iter().find(|slot| slot.is_for(place))?;
        let n_in = slot.n_in.unwrap_or(slot.part.len());
        Some(Matrix::stored(self.tensors.get(&slot.name)?, slot.layout, slot.len() / n_in, n_in))
    }

    /// What the model's tensors hold by element type, largest first.
    pub(crate) fn dtype_totals(&self) -> Vec<DtypeTotal> {
        let mut totals: Vec<DtypeTotal> = Vec::new();
        for tensor in self.slots.iter().filter_map(|slot| self.tensors.get(&slot.name)) {
            let dtype = format!("{:?}", tensor.dtype);
            let known = totals.iter().position(|total| total.dtype == dtype);
            let i = known.unwrap_or_else(|| {
                totals.push(DtypeTotal { dtype, n_params: 0, n_bytes: 0 });
                totals.len() - 1
            });
            totals[i].n_params += tensor.shape.iter().product::<usize>() as u64;
            totals[i].n_bytes += tensor.range.len() as u64;
        }
        totals.sort_by_key(|total| std::cmp::Reverse(total.n_bytes));
        totals
    }

    /// Holds every tensor against what config.json says.
    pub(crate) fn check(&self) -> Result<(), WeightsError> {
        let mut problems = Vec::new();
        for slot in &self.slots {
            let (name, shape, fields) = (&slot.name, slot.shape(), slot.fields);
            let Some(tensor) = self.tensors.get(name) else {
                problems.push(format!("tensor {name} is missing, expected {shape:?} {fields}"));
                continue;
            };
            if tensor.shape != shape {
                problems
                    .push(format!("tensor {name} has shape {:?}, expected {shape:?} {fields}", tensor.shape));
            }
            if StoredType::of(tensor.dtype).is_none() {
                let hint = match tensor.dtype {
                    Dtype::F64 => ", or F64 with values that F32 holds exactly",
                    _ => "",
                };
                problems
                    .push(format!("tensor {name} is {:?}, expected F16, BF16 or F32{hint}", tensor.dtype));
            }
        }
        problems.extend(self.layers_beyond());
        problems.extend(self.second_head());
        if problems.is_empty() { Ok(()) } else { Err(WeightsError::Mismatch { problems }) }
    }

    /// The tensors that are no part of the model.
    pub(crate) fn ignored(&self) -> Vec<&str> {
        let used: HashSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        self.tensors.by_name.keys().map(String::as_str).filter(|name| !used.contains(name)).collect()
    }

    /// Layers of the file that config.json does not count.
    fn layers_beyond(&self) -> Option<String> {
        let (n_layer, prefix) = (self.description.config.n_layer, self.description.family.layers);
        let layer = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let last = self.tensors.by_name.keys().filter_map(layer).max()?;
        (last >= n_layer).then(|| {
            format!("the file has layers up to {prefix}{last}, expected {n_layer} of them (n_layer)")
        })
    }

    /// A head of its own in a model whose head is said to be tied. Exports that hold the tied matrix twice are fine.
    fn second_head(&self) -> Option<String> {
        let (embd_name, head_name) = self.tied_names()?;
        let (embd, head) = (self.tensors.get(&embd_name)?, self.tensors.get(&head_name)?);
        let same = head.dtype == embd.dtype && head.shape == embd.shape && head.data() == embd.data();
        (!same).then(|| {
            format!(
                "tensor {head_name} differs from {embd_name}, expected the same values (tie_word_embeddings is true; \
                 set it to false to use {head_name})"
            )
        })
    }

    /// Searches the model's tensors for NaN and infinity.
    pub(crate) fn check_finite(&self) -> Result<(), WeightsError> {
        let used: Vec<(&str, &Tensor)> =
            self.slots.iter().filter_map(|slot| Some((&*slot.name, self.tensors.get(&slot.name)?))).collect();
        let found = scan::nonfinite(used.iter().map(|(_, tensor)| (tensor.dtype, tensor.data())));
        if found.is_empty() {
            return Ok(());
        }
        let describe = |hit: &scan::Hit| {
            let (name, tensor) = &used[hit.tensor];
            let (plural, at) =
                (if hit.count == 1 { "value" } else { "values" }, index(hit.first, &tensor.shape));
            format!("tensor {name} has {} non-finite {plural}, first at {at:?}", hit.count)
        };
        Err(WeightsError::NonFinite { tensors: found.iter().map(describe).collect() })
    }

    fn get(&self, slot: &Slot) -> Result<&Tensor, WeightsError> {
        let missing =
            || WeightsError::Mismatch { problems: vec![format!("tensor {} is missing", slot.name)] };
        self.tensors.get(&slot.name).ok_or_else(missing)
    }
}

/// Reads generation_config.json, where there is one: its tokens that end a text count as config.json's do.
fn generation(folder: &Path, description: &mut Description) -> Result<GenerationConfig, WeightsError> {
    let path = folder.join("generation_config.json");
    if !format::exists(&path)? {
        return Ok(GenerationConfig::default());
    }
    let config = &mut description.config;
    let generation = GenerationConfig::parse(&format::read_text(&path)?, config.n_vocab)?;
    for &id in &generation.eos_token_ids {
        if !config.eos_token_ids.contains(&id) {
            config.eos_token_ids.push(id);
        }
    }
    Ok(generation)
}

/// What a checked tensor puts into its slot.
fn fill(slot: &Slot, tensor: &Tensor) -> Filling {
    match slot.n_in {
        Some(n_in) => Filling::Matrix(Matrix::stored(tensor, slot.layout, slot.part.len(), n_in)),
        None => Filling::Vector(vector(tensor)),
    }
}

/// Where element `i` of a row-major tensor is.
pub(crate) fn index(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let within = i % dim;
            i /= dim;
            within
        })
        .collect();
    at.reverse();
    at
}
