//! `ruletop export`: the model printed back.
