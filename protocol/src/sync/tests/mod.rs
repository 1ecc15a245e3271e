//! Two whole conversations over an in-memory link: what must hold whatever is held, said, delayed or forged.

mod asking;
mod beacons;
mod control;
mod differ;
mod doubtful;
mod equal;
mod forks;
mod garbage;
mod hostile;
mod known;
mod large;
mod link;
mod live;
mod newcomer;
mod node;
mod puppet;
mod schedules;
mod strangers;
mod world;
