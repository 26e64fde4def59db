import datetime

from buf.validate import validate_pb2 as _validate_pb2
from entasis.access.v1 import requirement_pb2 as _requirement_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetPredictionRequest(_message.Message):
    __slots__ = ("symbol", "timeframe", "model")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMEFRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timeframe: str
    model: str
    def __init__(self, symbol: _Optional[str] = ..., timeframe: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class GetPredictionResponse(_message.Message):
    __slots__ = ("symbol", "prediction", "confidence", "timeframe", "model", "timestamp", "as_of", "target_time", "last_price", "band", "intervals", "volatility", "model_version", "training_cutoff")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    TIMEFRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    TARGET_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    BAND_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_CUTOFF_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    prediction: str
    confidence: float
    timeframe: str
    model: str
    timestamp: _timestamp_pb2.Timestamp
    as_of: _timestamp_pb2.Timestamp
    target_time: _timestamp_pb2.Timestamp
    last_price: str
    band: str
    intervals: _containers.RepeatedCompositeFieldContainer[PredictionInterval]
    volatility: str
    model_version: str
    training_cutoff: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., prediction: _Optional[str] = ..., confidence: _Optional[float] = ..., timeframe: _Optional[str] = ..., model: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., target_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_price: _Optional[str] = ..., band: _Optional[str] = ..., intervals: _Optional[_Iterable[_Union[PredictionInterval, _Mapping]]] = ..., volatility: _Optional[str] = ..., model_version: _Optional[str] = ..., training_cutoff: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PredictionInterval(_message.Message):
    __slots__ = ("level", "low", "high")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    level: float
    low: str
    high: str
    def __init__(self, level: _Optional[float] = ..., low: _Optional[str] = ..., high: _Optional[str] = ...) -> None: ...

class GetRiskRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class GetRiskResponse(_message.Message):
    __slots__ = ("symbol", "var_95", "expected_shortfall", "volatility", "timestamp", "as_of", "method", "horizon", "sample_size", "last_price")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    VAR_95_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    var_95: str
    expected_shortfall: str
    volatility: str
    timestamp: _timestamp_pb2.Timestamp
    as_of: _timestamp_pb2.Timestamp
    method: str
    horizon: str
    sample_size: int
    last_price: str
    def __init__(self, symbol: _Optional[str] = ..., var_95: _Optional[str] = ..., expected_shortfall: _Optional[str] = ..., volatility: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., method: _Optional[str] = ..., horizon: _Optional[str] = ..., sample_size: _Optional[int] = ..., last_price: _Optional[str] = ...) -> None: ...

class GetPortfolioRiskRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPortfolioRiskResponse(_message.Message):
    __slots__ = ("risks", "timestamp", "unvalued_position_ids")
    RISKS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    UNVALUED_POSITION_IDS_FIELD_NUMBER: _ClassVar[int]
    risks: _containers.RepeatedCompositeFieldContainer[CurrencyRisk]
    timestamp: _timestamp_pb2.Timestamp
    unvalued_position_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, risks: _Optional[_Iterable[_Union[CurrencyRisk, _Mapping]]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unvalued_position_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CurrencyRisk(_message.Message):
    __slots__ = ("currency", "var_95", "expected_shortfall", "net_notional", "gross_notional", "positions", "as_of", "method", "horizon", "sample_size")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    VAR_95_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    NET_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    GROSS_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    currency: str
    var_95: str
    expected_shortfall: str
    net_notional: str
    gross_notional: str
    positions: _containers.RepeatedCompositeFieldContainer[PositionRisk]
    as_of: _timestamp_pb2.Timestamp
    method: str
    horizon: str
    sample_size: int
    def __init__(self, currency: _Optional[str] = ..., var_95: _Optional[str] = ..., expected_shortfall: _Optional[str] = ..., net_notional: _Optional[str] = ..., gross_notional: _Optional[str] = ..., positions: _Optional[_Iterable[_Union[PositionRisk, _Mapping]]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., method: _Optional[str] = ..., horizon: _Optional[str] = ..., sample_size: _Optional[int] = ...) -> None: ...

class PositionRisk(_message.Message):
    __slots__ = ("position_id", "symbol", "type", "size", "notional", "var_contribution", "expected_shortfall_contribution")
    POSITION_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    VAR_CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SHORTFALL_CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    position_id: str
    symbol: str
    type: str
    size: str
    notional: str
    var_contribution: str
    expected_shortfall_contribution: str
    def __init__(self, position_id: _Optional[str] = ..., symbol: _Optional[str] = ..., type: _Optional[str] = ..., size: _Optional[str] = ..., notional: _Optional[str] = ..., var_contribution: _Optional[str] = ..., expected_shortfall_contribution: _Optional[str] = ...) -> None: ...

class GetAccuracyRequest(_message.Message):
    __slots__ = ("symbol", "timeframe", "model", "days")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMEFRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timeframe: str
    model: str
    days: int
    def __init__(self, symbol: _Optional[str] = ..., timeframe: _Optional[str] = ..., model: _Optional[str] = ..., days: _Optional[int] = ...) -> None: ...

class GetAccuracyResponse(_message.Message):
    __slots__ = ("symbol", "accuracies", "timestamp")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ACCURACIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    accuracies: _containers.RepeatedCompositeFieldContainer[Accuracy]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., accuracies: _Optional[_Iterable[_Union[Accuracy, _Mapping]]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Accuracy(_message.Message):
    __slots__ = ("timeframe", "model", "sample_size", "first_as_of", "last_as_of", "mean_absolute_error", "random_walk_error", "relative_error", "t_statistic", "coverage", "hit_rate", "mean_confidence", "calibration_error", "brier_skill")
    TIMEFRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    FIRST_AS_OF_FIELD_NUMBER: _ClassVar[int]
    LAST_AS_OF_FIELD_NUMBER: _ClassVar[int]
    MEAN_ABSOLUTE_ERROR_FIELD_NUMBER: _ClassVar[int]
    RANDOM_WALK_ERROR_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_ERROR_FIELD_NUMBER: _ClassVar[int]
    T_STATISTIC_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    MEAN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    BRIER_SKILL_FIELD_NUMBER: _ClassVar[int]
    timeframe: str
    model: str
    sample_size: int
    first_as_of: _timestamp_pb2.Timestamp
    last_as_of: _timestamp_pb2.Timestamp
    mean_absolute_error: str
    random_walk_error: str
    relative_error: float
    t_statistic: float
    coverage: _containers.RepeatedCompositeFieldContainer[Coverage]
    hit_rate: float
    mean_confidence: float
    calibration_error: float
    brier_skill: float
    def __init__(self, timeframe: _Optional[str] = ..., model: _Optional[str] = ..., sample_size: _Optional[int] = ..., first_as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., mean_absolute_error: _Optional[str] = ..., random_walk_error: _Optional[str] = ..., relative_error: _Optional[float] = ..., t_statistic: _Optional[float] = ..., coverage: _Optional[_Iterable[_Union[Coverage, _Mapping]]] = ..., hit_rate: _Optional[float] = ..., mean_confidence: _Optional[float] = ..., calibration_error: _Optional[float] = ..., brier_skill: _Optional[float] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("level", "share")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    level: float
    share: float
    def __init__(self, level: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "training")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    training: Training
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., training: _Optional[_Union[Training, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("timeframe", "version", "trained_from", "training_cutoff", "sample_size", "symbols", "features", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TIMEFRAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FROM_FIELD_NUMBER: _ClassVar[int]
    TRAINING_CUTOFF_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    timeframe: str
    version: str
    trained_from: _timestamp_pb2.Timestamp
    training_cutoff: _timestamp_pb2.Timestamp
    sample_size: int
    symbols: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, timeframe: _Optional[str] = ..., version: _Optional[str] = ..., trained_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., training_cutoff: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sample_size: _Optional[int] = ..., symbols: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("state", "progress", "expected_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_FIELD_NUMBER: _ClassVar[int]
    state: str
    progress: float
    expected_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[str] = ..., progress: _Optional[float] = ..., expected_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
