"""`onboard completion`: a shell's completion script."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes onboard's commands and options.

    \b
    bash:  eval "$(onboard completion bash)"          in ~/.bashrc
    zsh:   eval "$(onboard completion zsh)"           in ~/.zshrc
    fish:  onboard completion fish > ~/.config/fish/completions/onboard.fish
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(completer(context.find_root().command, {}, "onboard", "_ONBOARD_COMPLETE").source())
