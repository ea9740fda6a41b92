"""What the server does by itself when something happens, made in code and the same however often it is made."""

from collections.abc import Sequence
from datetime import timedelta

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.schemas.automations import Posture

# A run sends a sign of life every 180 s, unless its worker is told otherwise. A server that is away for a while, which
# runs wait for (flows/accelerator.py), is no death.
_SILENCE = timedelta(seconds=1200)
_HEARTBEAT = "prefect.flow-run.heartbeat"
# Of these it is known where they are: over, or not at work.
_QUIET = (
    *("Completed", "Failed", "Crashed", "Cancelled"),
    *("Scheduled", "AwaitingRetry", "AwaitingConcurrencySlot", "Late", "Paused", "Suspended"),
)


def zombies(silence: timedelta = _SILENCE) -> AutomationCore:
    """Reports runs as crashed that were at work and give no more sign of life: their machine or worker is gone.

    Args:
        silence: how long nothing is heard of them.

    Returns:
        The automation.
    """
    return AutomationCore(
        name="hubtune: end runs that have died",
        description="A run that gives no sign of life any more is reported as crashed. Retry goes on from the store.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _QUIET)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no sign of life for {silence.total_seconds():.0f} s: its process or its machine is gone",
            )
        ],
    )


def remove_automations(client: SyncPrefectClient, names: Sequence[str]) -> None:
    """Remove automations.

    Args:
        client: of the server.
        names: theirs; those that are not there are passed over.
    """
    for name in names:
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)


def ensure_automations(client: SyncPrefectClient, wanted: Sequence[AutomationCore]) -> list[str]:
    """Make automations, or make those of the same name the same again.

    Args:
        client: of the server.
        wanted: what should be there; others are left alone.

    Returns:
        Their names.
    """
    for automation in wanted:
        same = client.read_automations_by_name(automation.name)
        if same:
            # Whoever switched it off meant it.
            client.update_automation(same[0].id, automation.model_copy(update={"enabled": same[0].enabled}))
        else:
            client.create_automation(automation)
        for copy in same[1:]:
            client.delete_automation(copy.id)
    return [automation.name for automation in wanted]
