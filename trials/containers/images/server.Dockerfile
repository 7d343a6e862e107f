# A server of Debian's packages that stands in for an official image: the same user, folders and command.
ARG BASE
FROM ${BASE}
ARG USER
ARG HOME_FOLDER
ARG PACKAGE
# No package may start its server, or make a database, while it is installed.
RUN groupadd --gid 999 "$USER" && useradd --uid 999 --gid 999 --home-dir "$HOME_FOLDER" --no-create-home "$USER" \
    && mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf \
    && printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
    && apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $PACKAGE > /dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin "$HOME_FOLDER"/.erlang.cookie \
    && for program in /usr/lib/postgresql/*/bin/*; do [ ! -e "$program" ] || ln -sf "$program" /usr/local/bin/; done
ARG FOLDERS
ARG COMMAND
RUN install -d -o 999 -g 999 $FOLDERS
ENV PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    COMMAND=${COMMAND} HOME=${HOME_FOLDER} PGDATA=/var/lib/postgresql/data RABBITMQ_LOGS=-
ARG ENTRY
COPY --chmod=755 ${ENTRY} /usr/local/bin/entry
ENTRYPOINT ["entry"]
