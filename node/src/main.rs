//! The program `selfchain`. All of it is in the library, under [`selfchain::cli`].

fn main() -> std::process::ExitCode {
    selfchain::cli::main(std::env::args_os(), std::env::vars_os())
        .code()
        .into()
}
