"""Messages about runs that ended badly, late runs, bad data and new versions, to wherever HUBTUNE_ALERTS says."""

from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger, SendNotification
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from deployments.interrupted import STOPPED
from deployments.register import FLOWS
from flows.accelerator import TRAINING
from hubtune.errors import InvalidRecipe
from schemas.report import PUBLISHED_EVENT, QUARANTINE_EVENT

NAMES = (
    "hubtune: tell of runs that ended badly",
    "hubtune: tell of late runs",
    "hubtune: tell of data in quarantine",
    "hubtune: tell of new versions",
)

_BLOCK = "hubtune-alerts"
# A training on the accelerator is a part of these: its failure is theirs, and is told once.
_FLOWS = [name for name in FLOWS if name != TRAINING]
_VARIABLE = "the environment variable HUBTUNE_ALERTS"


def alerts(client: SyncPrefectClient, target: str) -> list[AutomationCore]:
    """The automations that send messages.

    Args:
        client: of the server.
        target: the address of a webhook, which is sent JSON with `text`, `subject` and `body`; or a notification block
            that is there already, as `type/name`, for instance `slack-webhook/ops`.

    Returns:
        Automations, to be made.

    Raises:
        InvalidRecipe: the target is neither, or there is no such block.
    """
    block = _webhook(target) if target.startswith(("http://", "https://")) else _block(client, target)
    states = {"prefect.resource.id": ["prefect.flow-run.*"]}
    of_flows = {"prefect.resource.role": "flow", "prefect.resource.name": _FLOWS}
    badly, late, quarantine, published = NAMES

    def told(name: str, events: set[str], match: dict[str, list[str]], subject: str, body: str) -> AutomationCore:
        return AutomationCore(
            name=name,
            trigger=EventTrigger(
                expect=events,
                match=match,
                match_related=of_flows,
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[SendNotification(block_document_id=block, subject=subject, body=body)],
        )

    ends = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "Cancelled")}
    run = "{{ flow.name }} '{{ flow_run.name }}'"
    cause = "{{ event.resource['prefect.state-message'] }}\n{{ flow_run|ui_url }}"
    return [
        # What was stopped together with all this goes on at the next start.
        told(
            badly,
            ends,
            states | {"prefect.state-message": [f"!{STOPPED}*"]},
            run + ": {{ event.resource['prefect.state-name'] }}",
            cause,
        ),
        told(
            late,
            {"prefect.flow-run.Late"},
            states,
            run + " is late",
            "It should have begun by now, and no worker has taken it.\n{{ flow_run|ui_url }}",
        ),
        told(
            quarantine,
            {QUARANTINE_EVENT},
            {"prefect.resource.id": ["hubtune.quarantine.*"]},
            run + ": much of the data is in quarantine",
            "{{ event.payload['text'] }}\n{{ flow_run|ui_url }}",
        ),
        told(
            published,
            {PUBLISHED_EVENT},
            {"prefect.resource.id": ["hubtune.model.*"]},
            "{{ event.resource['prefect.resource.name'] }} is published",
            "{{ event.payload['text'] }}\n{{ flow_run|ui_url }}",
        ),
    ]


def _webhook(address: str) -> UUID:
    # Addresses of webhooks are as good as passwords: a secret value is not shown by server and UI.
    text = {"text": "{{subject}}\n{{body}}", "subject": "{{subject}}", "body": "{{body}}"}
    block = CustomWebhookNotificationBlock(
        name="hubtune", url="{{address}}", json_data=text, secrets={"address": SecretStr(address)}
    )
    saved: UUID = block.save(_BLOCK, overwrite=True)  # type: ignore[assignment]  # this is not async
    return saved


def _block(client: SyncPrefectClient, target: str) -> UUID:
    kind, slash, name = target.partition("/")
    if not slash:
        raise InvalidRecipe(
            f"{target!r} is neither an address nor a block",
            where=_VARIABLE,
            remedy="give https://..., or type/name of a notification block, for instance slack-webhook/ops",
        )
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        raise InvalidRecipe(
            f"the server has no block {target!r}", where=_VARIABLE, remedy="make it in the UI, under Blocks"
        ) from None
