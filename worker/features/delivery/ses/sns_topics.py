"""The names of topics of Amazon SNS (ARNs), and the host of SNS in the region of each."""

import re

TOPIC = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov|aws-eusc):sns:([a-z]{2,5}(?:-[a-z]{2,12}){1,3}-\d):\d{12}:[\w-]{1,256}", re.ASCII
)
DOMAINS = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
}


def host_of(topic: str) -> str:
    """The host of SNS in the topic's region. Raises ValueError for what is no topic."""
    match = TOPIC.fullmatch(topic)
    if match is None:
        raise ValueError('expected the ARN of a topic, such as "arn:aws:sns:eu-west-1:123456789012:bounces"')
    return f"sns.{match[2]}.{DOMAINS[match[1]]}"
