// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {Access} from "../src/Access.sol";
import {Ledger} from "../src/Ledger.sol";
import {Members} from "../src/Members.sol";
import {Meter} from "../src/Meter.sol";
import {Coin} from "../src/dev/Coin.sol";
import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Kind, Signature} from "../src/interfaces/Types.sol";

/// The four contracts, their quorums and the people who use them. The EIP-712 digests are computed here a second time:
/// what the contracts accept is what this file signs.
abstract contract Base is Test {
    uint48 internal constant START = 1_800_000_000; // Unix seconds
    uint32 internal constant WINDOW = 1 weeks;
    uint32 internal constant HORIZON = 4;
    uint64 internal constant GPU = 1e6; // units
    uint64 internal constant FLOOR = 100 * GPU;
    uint16 internal constant HOLD_BPS = 2_500;
    uint16 internal constant USE_BPS = 2_000;
    uint64 internal constant MOST_HELD = FLOOR * HOLD_BPS / 10_000; // while a class is below its floor
    uint64 internal constant MOST_USED = FLOOR * uint64(WINDOW) * USE_BPS / 1e10;
    uint64 internal constant MAX_UNITS = (1 << 63) - 1;
    uint256 internal constant ADMISSIONS = 100;
    uint48 internal constant UNTIL = type(uint48).max;
    uint48 internal constant EXPIRES = START + 52 weeks;
    uint48 internal constant DEADLINE = type(uint48).max;
    uint256 internal constant P256_N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
    uint256 internal constant SECP256K1_N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    bytes32 internal constant GPUS = keccak256("compute/h100-sxm");
    bytes32 internal constant TEXT = keccak256("data/text");
    bytes32 internal constant LLM = keccak256("model/llm");

    uint256 internal constant THRESHOLD = 2;
    uint256 internal constant METER_KEY = 0x11;
    uint256 internal constant SESSION_KEY = 0x22;

    Members internal members;
    Ledger internal ledger;
    Access internal access;
    Meter internal meter;
    Coin internal coin;

    uint256[] internal attesterKeys; // in ascending order of their addresses, as every quorum lists them
    uint256[] internal appraiserKeys;

    address internal provider; // registers assets and operates them
    address internal affiliate; // controlled by somebody, where a test says so
    address internal developer; // acquires and redeems credits
    address internal relayer; // sends what others signed
    address internal stranger; // not a member
    mapping(address account => uint256) internal keyOf;
    // A scalar multiplication takes longer than most calls of these contracts: every key is multiplied once.
    mapping(uint256 key => address) private _addressOf;
    mapping(uint256 key => bytes32[2]) private _pointOf;
    uint256 private _serial;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(1_000);
        attesterKeys = _keys("attester", 3);
        appraiserKeys = _keys("appraiser", 3);
        provider = _actor("provider");
        affiliate = _actor("affiliate");
        developer = _actor("developer");
        relayer = _actor("relayer");
        stranger = _actor("stranger");

        publicKey(METER_KEY);
        publicKey(SESSION_KEY);

        bytes memory supply = abi.encode("Development Dollar", "DEV", address(this), type(uint128).max);
        coin = Coin(deployCode("Coin.sol:Coin", supply));
        _deploy();
        admit(provider);
        admit(affiliate);
        admit(developer);
    }

    /* DEPLOYMENT */

    function _deploy() internal {
        uint256 nonce = vm.getNonce(address(this));
        address members_ = vm.computeCreateAddress(address(this), nonce);
        address ledger_ = vm.computeCreateAddress(address(this), nonce + 1);
        address access_ = vm.computeCreateAddress(address(this), nonce + 2);
        address meter_ = vm.computeCreateAddress(address(this), nonce + 3);

        // By name and not by `new`: else every test contract carries, and the compiler optimises, a copy of all four.
        deployCode(
            "Members.sol:Members", abi.encode(addressesOf(attesterKeys), THRESHOLD, ADMISSIONS, ledger_, access_)
        );
        deployCode("Ledger.sol:Ledger", abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), members_));
        deployCode("Access.sol:Access", abi.encode(WINDOW, horizon(), address(coin), members_, ledger_, meter_));
        deployCode("Meter.sol:Meter", abi.encode(ledger_, access_, members_));
        (members, ledger, access, meter) = (Members(members_), Ledger(ledger_), Access(access_), Meter(meter_));
    }

    function classParams() internal pure virtual returns (ILedger.ClassParams[] memory classes) {
        classes = new ILedger.ClassParams[](3);
        classes[0] = ILedger.ClassParams("compute/h100-sxm", Kind.COMPUTE, "H100 SXM GPU", HOLD_BPS, USE_BPS, 3, FLOOR);
        classes[1] = ILedger.ClassParams("data/text", Kind.DATA, "1e9 tokens", HOLD_BPS, USE_BPS, 0, FLOOR);
        classes[2] = ILedger.ClassParams("model/llm", Kind.MODEL, "1e9 parameters", HOLD_BPS, USE_BPS, 0, FLOOR);
    }

    function horizon() internal pure virtual returns (uint32) {
        return HORIZON;
    }

    function addressesOf(uint256[] memory keys) internal view returns (address[] memory list) {
        list = new address[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            list[i] = addressOf(keys[i]);
        }
    }

    function addressOf(uint256 key) internal view returns (address account) {
        account = _addressOf[key];
        if (account == address(0)) account = vm.addr(key);
    }

    function _actor(string memory role) internal returns (address account) {
        (address a, uint256 key) = makeAddrAndKey(role);
        keyOf[a] = key;
        _addressOf[key] = a;
        return a;
    }

    function _keys(string memory role, uint256 count) private returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            (address account, uint256 key) = makeAddrAndKey(string.concat(role, vm.toString(i)));
            keyOf[account] = key;
            _addressOf[key] = account;
            uint256 place = i;
            for (; place > 0 && _addressOf[keys[place - 1]] > account; --place) {
                keys[place] = keys[place - 1];
            }
            keys[place] = key;
        }
    }

    /* DIGESTS */

    function domainOf(string memory name, uint256 chainId, address verifier) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                chainId,
                verifier
            )
        );
    }

    function typed(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function membersDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Members", block.chainid, address(members));
    }

    function ledgerDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Ledger", block.chainid, address(ledger));
    }

    function accessDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Access", block.chainid, address(access));
    }

    function meterDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Meter", block.chainid, address(meter));
    }

    function hashOf(IMembers.Admission memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256("Admission(address member,bytes32 nullifier,uint48 until,uint48 deadline)");
        return keccak256(abi.encode(t, a.member, a.nullifier, a.until, a.deadline));
    }

    function hashOf(IMembers.Renewal memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256("Renewal(address member,uint48 until,uint48 deadline)");
        return keccak256(abi.encode(t, r.member, r.until, r.deadline));
    }

    function hashOf(IMembers.Attachment memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256("Attachment(address member,address controller,uint256 nonce,uint48 deadline)");
        return keccak256(abi.encode(t, a.member, a.controller, a.nonce, a.deadline));
    }

    function hashOf(IMembers.Finding memory f) internal pure returns (bytes32) {
        bytes32 t = keccak256("Finding(address member,address controller,bytes32 evidence,uint48 deadline)");
        return keccak256(abi.encode(t, f.member, f.controller, f.evidence, f.deadline));
    }

    function hashOf(ILedger.Appraisal memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Appraisal(bytes32 classId,address registrant,bytes32 contentHash,bytes32 resultHash,string policy,uint64 units,uint8 level,bytes32[] devices,bytes32 meterKeyX,bytes32 meterKeyY,uint48 expiresAt,uint48 deadline)"
        );
        bytes32[] memory words = new bytes32[](13);
        words[0] = t;
        words[1] = a.classId;
        words[2] = bytes32(uint256(uint160(a.registrant)));
        words[3] = a.contentHash;
        words[4] = a.resultHash;
        words[5] = keccak256(bytes(a.policy));
        words[6] = bytes32(uint256(a.units));
        words[7] = bytes32(uint256(a.level));
        words[8] = keccak256(abi.encodePacked(a.devices));
        words[9] = a.meterKeyX;
        words[10] = a.meterKeyY;
        words[11] = bytes32(uint256(a.expiresAt));
        words[12] = bytes32(uint256(a.deadline));
        return keccak256(abi.encodePacked(words));
    }

    function hashOf(IAccess.Redemption memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Redemption(address holder,uint256 id,uint64 amount,bytes32 keyX,bytes32 keyY,uint256 nonce,uint48 deadline)"
        );
        return keccak256(abi.encode(t, r.holder, r.id, r.amount, r.keyX, r.keyY, r.nonce, r.deadline));
    }

    function hashOf(IMeter.Receipt memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256("Receipt(bytes32 lease,uint64 gpuMs,bytes32 head)");
        return keccak256(abi.encode(t, r.lease, r.gpuMs, r.head));
    }

    /* SIGNATURES */

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function sign(uint256[] memory keys, bytes32 digest) internal view returns (Signature[] memory quorum) {
        quorum = new Signature[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            quorum[i] = Signature(addressOf(keys[i]), sign(keys[i], digest));
        }
    }

    /// The first `THRESHOLD` of the attesters.
    function attested(bytes32 structHash) internal view returns (Signature[] memory) {
        return sign(_first(attesterKeys, THRESHOLD), typed(membersDomain(), structHash));
    }

    function appraised(ILedger.Appraisal memory a) internal view returns (Signature[] memory) {
        return sign(_first(appraiserKeys, THRESHOLD), typed(ledgerDomain(), hashOf(a)));
    }

    /// Low s, as every verifier here demands.
    function signP256(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 s) {
        (r, s) = vm.signP256(key, digest);
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
    }

    function publicKey(uint256 key) internal returns (bytes32 x, bytes32 y) {
        bytes32[2] storage point = _pointOf[key];
        if (point[0] == 0) {
            (uint256 ux, uint256 uy) = vm.publicKeyP256(key);
            (point[0], point[1]) = (bytes32(ux), bytes32(uy));
        }
        return (point[0], point[1]);
    }

    function isMember(address account) internal view returns (bool) {
        (, uint48 since,) = members.memberOf(account);
        return since != 0;
    }

    function _first(uint256[] memory keys, uint256 count) internal pure returns (uint256[] memory few) {
        few = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            few[i] = keys[i];
        }
    }

    /* WHAT MOST TESTS NEED */

    function admit(address account) internal {
        admit(account, UNTIL);
    }

    function admit(address account, uint48 until) internal {
        IMembers.Admission memory a = IMembers.Admission(account, keccak256(abi.encode(account)), until, DEADLINE);
        members.admit(a, attested(hashOf(a)));
    }

    function attach(address member, address controller) internal {
        IMembers.Attachment memory a = IMembers.Attachment(member, controller, members.nonces(member), DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        bytes memory memberSignature = sign(keyOf[members.rootOf(member)], digest);
        members.attach(a, memberSignature, sign(keyOf[members.rootOf(controller)], digest));
    }

    function find(address member, address controller) internal {
        IMembers.Finding memory f = IMembers.Finding(member, controller, keccak256("evidence"), DEADLINE);
        members.find(f, attested(hashOf(f)));
    }

    /// A machine of the provider: a new device and new evidence at each call.
    function machine(uint64 units) internal returns (ILedger.Appraisal memory a) {
        (a.meterKeyX, a.meterKeyY) = publicKey(METER_KEY);
        a.classId = GPUS;
        a.registrant = provider;
        a.contentHash = keccak256(abi.encode("evidence", ++_serial));
        a.resultHash = keccak256("result");
        a.policy = "development";
        a.units = units;
        a.level = 4;
        a.devices = new bytes32[](1);
        a.devices[0] = keccak256(abi.encode("device", _serial));
        a.expiresAt = EXPIRES;
        a.deadline = DEADLINE;
    }

    /// A dataset of the provider, with no node of its own.
    function dataset(uint64 units) internal returns (ILedger.Appraisal memory a) {
        a = machine(units);
        a.classId = TEXT;
        a.devices = new bytes32[](0);
        a.meterKeyX = 0;
        a.meterKeyY = 0;
    }

    function noShares() internal pure returns (ILedger.Share[] memory) {
        return new ILedger.Share[](0);
    }

    function oneShare(address owner, uint64 units) internal pure returns (ILedger.Share[] memory split) {
        split = new ILedger.Share[](1);
        split[0] = ILedger.Share(owner, units);
    }

    function twoShares(address owner, uint64 units, address other, uint64 otherUnits)
        internal
        pure
        returns (ILedger.Share[] memory split)
    {
        split = new ILedger.Share[](2);
        split[0] = ILedger.Share(owner, units);
        split[1] = ILedger.Share(other, otherUnits);
    }

    function register(ILedger.Appraisal memory a, ILedger.Share[] memory split) internal returns (uint256 asset) {
        Signature[] memory quorum = appraised(a);
        vm.prank(a.registrant);
        return ledger.register(a, quorum, split, "ipfs://manifest");
    }

    /// A machine of `units`, all of them `owner`'s as far as the limit goes.
    function registerMachine(address owner, uint64 units) internal returns (uint256 asset) {
        return register(machine(units), oneShare(owner, units));
    }

    function open(uint256 asset, uint32 window, uint128 price) internal returns (uint256 id) {
        vm.prank(provider);
        return access.open(asset, window, price == 0 ? 0 : 1, price);
    }

    function grant(uint256 id, address to, uint64 amount) internal {
        vm.prank(provider);
        access.grant(id, to, amount);
    }

    function buy(uint256 id, address buyer, uint64 amount) internal {
        (, uint128 price) = access.priceOf(id);
        uint256 cost = uint256(price) * amount;
        assertTrue(coin.transfer(buyer, cost));
        vm.startPrank(buyer);
        coin.approve(address(access), cost);
        access.buy(id, amount, price);
        vm.stopPrank();
    }

    function redemption(address holder, uint256 id, uint64 amount) internal returns (IAccess.Redemption memory r) {
        (r.keyX, r.keyY) = publicKey(SESSION_KEY);
        r.holder = holder;
        r.id = id;
        r.amount = amount;
        r.nonce = ++_serial;
        r.deadline = DEADLINE;
    }

    function redeem(address holder, uint256 id, uint64 amount) internal returns (bytes32 lease) {
        IAccess.Redemption memory r = redemption(holder, id, amount);
        vm.prank(holder);
        return access.redeem(r);
    }

    function receipt(bytes32 lease, uint64 gpuMs) internal view returns (IMeter.SignedReceipt memory) {
        return signed(IMeter.Receipt(lease, gpuMs, keccak256(abi.encode(lease, gpuMs))), METER_KEY, SESSION_KEY);
    }

    function signed(IMeter.Receipt memory r, uint256 meterKey, uint256 sessionKey)
        internal
        view
        returns (IMeter.SignedReceipt memory s)
    {
        bytes32 digest = sha256(abi.encodePacked(hex"1901", meterDomain(), hashOf(r)));
        s.receipt = r;
        (s.nodeR, s.nodeS) = signP256(meterKey, digest);
        (s.sessionR, s.sessionS) = signP256(sessionKey, digest);
    }

    function batch(IMeter.SignedReceipt memory s) internal pure returns (IMeter.SignedReceipt[] memory list) {
        list = new IMeter.SignedReceipt[](1);
        list[0] = s;
    }

    function settle(bytes32 lease, uint64 gpuMs) internal {
        meter.settle(batch(receipt(lease, gpuMs)));
    }

    /// A lease of `amount` seconds in the present window, granted or bought.
    function leased(uint64 units, uint64 amount, uint128 price) internal returns (uint256 asset, bytes32 lease) {
        asset = registerMachine(provider, units);
        uint256 id = open(asset, access.currentWindow(), price);
        if (price == 0) grant(id, developer, amount);
        else buy(id, developer, amount);
        lease = redeem(developer, id, amount);
    }

    function nextBlock() internal {
        vm.roll(vm.getBlockNumber() + 1);
    }
}
