"""`todoke recall`: take a message back before it is 済."""

import click

from todoke.client import wording
from todoke.client.desk import EXIT_CODES, Desk, at_desk
from todoke.client.shapes import Message, RecallAnswer

REASON_CHARACTERS_MAX = 200

SHOWN_BEFORE = "メッセージの文とファイル名は、相手の一覧に初めから出ています。取り消すと、これからは見えなくなります。"
"""What a recall cannot undo, whatever its answer: the caller is told before it happens."""


@click.command(
    "recall",
    epilog=EXIT_CODES,
    help="まだ「済」でないメッセージを取り消します。相手がもう開いていたかどうかも出します。",
)
@click.argument("message_id")
@click.option("--reason", required=True, help=f"取り消す理由（1～{REASON_CHARACTERS_MAX}文字。相手には見えません）")
@at_desk
def recall(desk: Desk, message_id: str, reason: str) -> None:
    """Recall a message and say whether its content had been opened: a recall must not hide that."""
    if not 1 <= len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise click.UsageError(f"--reason は1～{REASON_CHARACTERS_MAX}文字で書いてください。")
    with desk.client() as client:
        message = client.message(message_id)
        desk.table(("項目", "内容"), _facts(message))
        desk.warn(SHOWN_BEFORE)
        answer = client.recall(message_id, reason)
    sentences = _sentences(answer)
    desk.say(sentences[0])
    for warning in sentences[1:]:
        desk.warn(warning)
    desk.document({**answer.model_dump(mode="json"), "message_id": message.message_id, "message": "".join(sentences)})


def _facts(message: Message) -> list[tuple[str, str]]:
    return [
        ("連番", message.sequence),
        ("送信先事業所", f"{message.recipient.name}（{message.recipient.number}）"),
        ("状態", wording.status(message)),
        ("開封", wording.opened(message.opened_at)),
        ("ファイル名", wording.files(message)),
    ]


def _sentences(answer: RecallAnswer) -> list[str]:
    """What became of it, then what the sender should know beside."""
    if answer.status == "recall_requested":
        return ["取消を受け付けました。まだ届いていないので、届くときに取り消されます。結果は送信一覧に出ます。"]
    if answer.opened_at is None:
        return ["取り消しました。相手はファイルの中身を開いていません（未開封）。"]
    return [
        f"取り消しました。ただし、相手はすでにファイルの中身を開いています（{wording.opened(answer.opened_at)}）。",
        "開かれたことは取り消せません。記録にも残ります。必要なら、相手に電話で伝えてください。",
    ]
