//! Named lists of numbers in a safetensors file: what models are kept as.

use safetensors::View;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use std::collections::HashMap;
use thiserror::Error;

/// Why a file does not hold what a model needs.
#[derive(Debug, Error)]
pub enum TensorError {
    /// The file is longer than any model.
    #[error("{got} bytes, at most {FILE_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// It is not a safetensors file, or cut short.
    #[error("the file is not whole, or no safetensors file")]
    Container(#[source] SafeTensorError),
    /// There is no such tensor.
    #[error("the tensor \"{name}\" is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// It holds other numbers.
    #[error("the tensor \"{name}\" holds {got}, where {want} is needed")]
    Type {
        /// Its name.
        name: &'static str,
        /// What it holds.
        got: Dtype,
        /// What it should.
        want: Dtype,
    },
    /// It has another shape.
    #[error("the tensor \"{name}\" has the shape {got:?}, where {want} is needed")]
    Shape {
        /// Its name.
        name: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// What it should be, `*` for any number.
        want: String,
    },
}

/// The longest model file that is read.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// The only metadata entry, so that equal models give equal bytes: a map of several has no fixed order.
const TEXT_KEY: &str = "selfchain";

/// Tensors to be written, with one text.
#[derive(Debug, Default)]
pub struct TensorsOut(Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>);

impl TensorsOut {
    /// Adds whole numbers of 32 bits, row by row.
    pub fn put_i32(&mut self, name: &'static str, shape: &[usize], values: impl IntoIterator<Item = i32>) {
        let bytes = values.into_iter().flat_map(i32::to_le_bytes).collect();
        self.0.push((name, Dtype::I32, shape.to_vec(), bytes));
    }

    /// Adds bytes, row by row.
    pub fn put_u8(&mut self, name: &'static str, shape: &[usize], values: impl IntoIterator<Item = u8>) {
        let bytes = values.into_iter().collect();
        self.0.push((name, Dtype::U8, shape.to_vec(), bytes));
    }

    /// Adds floating-point numbers of 32 bits, row by row.
    pub fn put_f32(&mut self, name: &'static str, shape: &[usize], values: impl IntoIterator<Item = f32>) {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.0.push((name, Dtype::F32, shape.to_vec(), bytes));
    }

    /// Adds a tensor as it is.
    pub fn put(&mut self, name: &'static str, tensor: &impl View) {
        let (shape, bytes) = (tensor.shape().to_vec(), tensor.data().into_owned());
        self.0.push((name, tensor.dtype(), shape, bytes));
    }

    /// The file. Equal tensors and texts give equal bytes.
    pub fn write(&self, text: &str) -> Vec<u8> {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (*name, view.expect("a tensor's values fill its shape"))
        });
        let metadata = HashMap::from([(TEXT_KEY.to_owned(), text.to_owned())]);
        safetensors::serialize(views, Some(metadata)).expect("a model's tensors have small heads")
    }
}

/// The tensors of a file, read in place.
#[derive(Debug)]
pub struct TensorsIn<'a> {
    tensors: SafeTensors<'a>,
    text: String,
}

impl<'a> TensorsIn<'a> {
    /// Reads a file's head.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, TensorError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(TensorError::TooLong { got: bytes.len() });
        }
        let (_, head) = SafeTensors::read_metadata(bytes).map_err(TensorError::Container)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(TensorError::Container)?;
        let text = head.metadata().as_ref().and_then(|texts| texts.get(TEXT_KEY));
        Ok(Self {
            tensors,
            text: text.cloned().unwrap_or_default(),
        })
    }

    /// The tensors as the container has them.
    pub fn container(&self) -> &SafeTensors<'a> {
        &self.tensors
    }

    /// The text beside the tensors; empty if there is none.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whole numbers of 32 bits. `shape` gives the size of each dimension, or `None` for any.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn i32s(&self, name: &'static str, shape: &[Option<usize>]) -> Result<Vec<i32>, TensorError> {
        let bytes = self.bytes(name, Dtype::I32, shape)?;
        Ok(bytes
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(i32::from_le_bytes)
            .collect())
    }

    /// Bytes.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn u8s(&self, name: &'static str, shape: &[Option<usize>]) -> Result<Vec<u8>, TensorError> {
        Ok(self.bytes(name, Dtype::U8, shape)?.to_vec())
    }

    /// Floating-point numbers of 32 bits, finite or not.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn f32s(&self, name: &'static str, shape: &[Option<usize>]) -> Result<Vec<f32>, TensorError> {
        let bytes = self.bytes(name, Dtype::F32, shape)?;
        Ok(bytes
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(f32::from_le_bytes)
            .collect())
    }

    fn bytes(
        &self,
        name: &'static str,
        want: Dtype,
        shape: &[Option<usize>],
    ) -> Result<&'a [u8], TensorError> {
        let tensor = self.tensors.tensor(name);
        let tensor = tensor.map_err(|_| TensorError::Missing { name })?;
        let got = tensor.dtype();
        if got != want {
            return Err(TensorError::Type { name, got, want });
        }
        let fits = |(size, want): (&usize, &Option<usize>)| want.is_none_or(|want| want == *size);
        let is_right = tensor.shape().len() == shape.len() && tensor.shape().iter().zip(shape).all(fits);
        if !is_right {
            let want = shape
                .iter()
                .map(|size| size.map_or("*".into(), |size| size.to_string()));
            return Err(TensorError::Shape {
                name,
                got: tensor.shape().to_vec(),
                want: format!("[{}]", want.collect::<Vec<_>>().join(", ")),
            });
        }
        Ok(tensor.data())
    }
}
