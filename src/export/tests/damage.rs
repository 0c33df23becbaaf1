//! Whatever is altered in a bundle, the verifier never says that all is proven.
