//! The live screen: its state and its frames, made of inputs alone, and the program in a terminal.

mod frames;
mod journal;
mod live;
mod model;
mod pace;
mod sample;
mod terminal;
